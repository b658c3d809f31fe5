"""Tests of `geofsrcnn.upscale`."""
