"""Tests of geofsrcnn: packages as in the package, and apart what is about the product as a whole."""
