"""Tests of `geofsrcnn.networks`."""
