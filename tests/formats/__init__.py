"""Tests of `geofsrcnn.formats`."""
