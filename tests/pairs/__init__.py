"""Tests of `geofsrcnn.pairs`."""
