"""Tests of `geofsrcnn.engine`."""
