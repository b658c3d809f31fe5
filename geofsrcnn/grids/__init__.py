"""Where cells are: windows and tiles, affine grids, axes and meshes with their bounds, longitude.

Integers and numpy only.
"""
