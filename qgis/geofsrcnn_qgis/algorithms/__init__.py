# SPDX-License-Identifier: GPL-2.0-or-later
"""The tools of the plugin in QGIS's Processing Toolbox."""
