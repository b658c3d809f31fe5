"""The plugin in QGIS with its windows, on a screen that nobody sees; skipped where QGIS or the screen is missing."""

from __future__ import annotations

import pytest

from tests.support.plugin import Qgis, make_wheel, require_qgis

TOOLS = [f"geofsrcnn:{name}" for name in ("check", "evaluate", "install", "upscale", "upscale_file")]
ENTRIES = [
    "Make a raster finer…",
    "Make a NetCDF or Zarr file finer…",
    "Is it any good on my data?…",
    "Check the program…",
    "Install the program…",
]


@pytest.fixture(scope="module")
def qgis(tmp_path_factory):
    """QGIS with settings of its own, which these tests change."""
    require_qgis(windows=True)
    return Qgis(tmp_path_factory.mktemp("desktop-qgis"))


@pytest.fixture(scope="module")
def seen(qgis, jacksboro, large, tmp_path_factory):
    """What a user sees who begins without the program."""
    folder = tmp_path_factory.mktemp("desktop")
    found = qgis.desktop(
        "desktop.py",
        folder / "seen.json",
        GEOFSRCNN="",
        XDG_DATA_HOME=str(folder / "data"),
        PIP_NO_INDEX="1",
        PIP_CONFIG_FILE="/dev/null",
        DESKTOP_PACKAGE=str(make_wheel(folder / "w", "0.1.5")),
        DESKTOP_PROGRAM=str(qgis.program),
        DESKTOP_LAYER=str(jacksboro),
        DESKTOP_LARGE=str(large),
    )
    assert "failed" not in found, found["failed"]
    assert list(folder.glob(".*.part")) == []
    return {**found, "written": [path.name for path in folder.glob("*.tif*")]}


def test_the_tools_are_in_the_toolbox_and_in_the_menu(seen):
    """When QGIS has started, no more when the plugin is unloaded, and again when it is loaded again."""
    assert (seen["tools"], seen["entries"]) == (TOOLS, ENTRIES)
    assert seen["unloaded"] == [[], []]
    assert seen["reloaded"] == [TOOLS, ENTRIES]


def test_the_program_is_installed_with_the_button_of_the_message(seen):
    """The message goes when the program is there."""
    offer = "the tools need a program that is not on this computer yet"
    assert offer in seen["messages"]
    assert "geofsrcnn 0.1.5 is ready: " in seen["installed"]
    assert offer not in seen["messages_after"]


def test_the_setting_is_found_by_its_search_and_kept(seen, qgis):
    """In QGIS's options, which hand it on to the tools."""
    assert seen["setting_found"]
    assert seen["setting"] == str(qgis.program)
    assert "cubic: 114 x 134 cells became 228 x 268" in seen["upscaled"]
    assert seen["layers"] == ["my dem", "my dem x2"]


def test_cancel_in_the_dialog_leaves_nothing(seen):
    """The button, in the middle of the work."""
    assert "Cancelled: no unfinished file is left." in seen["cancelled"]
    assert seen["written"] == []
