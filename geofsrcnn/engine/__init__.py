"""Coarse arrays in, fine arrays out.

One function does the arithmetic of a block, the rest moves data to and from it. Torch; neither files nor xarray.
"""
