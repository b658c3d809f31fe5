"""Tests of `geofsrcnn.batch`."""
