"""Tests of `geofsrcnn.training`."""
