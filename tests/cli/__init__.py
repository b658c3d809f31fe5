"""Tests of `geofsrcnn.cli`."""
