"""Tests of `geofsrcnn.cf`."""
