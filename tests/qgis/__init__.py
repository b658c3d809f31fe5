"""The plugin of QGIS: what needs no QGIS runs everywhere, the rest with Debian's."""
