"""Tests of `geofsrcnn.evaluation`."""
