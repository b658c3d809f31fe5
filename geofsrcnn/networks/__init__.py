"""Networks and classical methods: the FSRCNN, inference, checkpoints, the catalog of what can be run by name, and the
weights that are shipped. Torch; neither rasterio nor xarray.
"""
