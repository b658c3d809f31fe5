"""One module a file format, reading and writing.

rasterio, netCDF4 and zarr are imported here and nowhere else; torch is not.
"""
