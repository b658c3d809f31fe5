"""Tests of `geofsrcnn.grids`."""
