"""Tests of `geofsrcnn.values`."""
