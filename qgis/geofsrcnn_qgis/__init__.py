# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugin of QGIS that makes rasters finer with the program geofsrcnn, which runs as a process of its own."""


def classFactory(iface):
    """Make the plugin; QGIS calls it, with None for `iface` where there are no windows."""
    from .plugin import Plugin

    return Plugin(iface)
