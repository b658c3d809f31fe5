"""Tests of `geofsrcnn.files`."""
