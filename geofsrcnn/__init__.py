"""Super-resolution of geospatial rasters: finer grids in the right place, in one piece, in their own units."""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from geofsrcnn._version import __version__

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from geofsrcnn.archive import upscale_files
    from geofsrcnn.checkpoint import load_checkpoint, save_checkpoint
    from geofsrcnn.dataset import upscale_dataarray, upscale_dataset
    from geofsrcnn.dispatch import upscale_file
    from geofsrcnn.errors import GeofsrcnnError, GeofsrcnnWarning
    from geofsrcnn.model import FSRCNN, FSRCNNConfig
    from geofsrcnn.upscale import upscale_array, upscale_raster

_HOME = {
    "FSRCNN": "model",
    "FSRCNNConfig": "model",
    "GeofsrcnnError": "errors",
    "GeofsrcnnWarning": "errors",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "upscale_array": "upscale",
    "upscale_dataarray": "dataset",
    "upscale_dataset": "dataset",
    "upscale_file": "dispatch",
    "upscale_files": "archive",
    "upscale_raster": "upscale",
}

__all__ = [
    "FSRCNN",
    "FSRCNNConfig",
    "GeofsrcnnError",
    "GeofsrcnnWarning",
    "__version__",
    "load_checkpoint",
    "save_checkpoint",
    "upscale_array",
    "upscale_dataarray",
    "upscale_dataset",
    "upscale_file",
    "upscale_files",
    "upscale_raster",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used: torch alone takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"geofsrcnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _WithXarray(importlib.abc.MetaPathFinder):
    """Registers the accessor when xarray is imported: importing it here would cost whoever does not use it a second."""

    looking = False

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != "xarray" or self.looking:
            return None
        self.looking = True
        try:
            spec = find_spec(fullname)
        finally:
            self.looking = False
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: ModuleType) -> None:
                load(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def _register() -> None:
    """Register the accessor, if what it needs is installed."""
    if find_spec("cf_xarray") is not None:
        importlib.import_module("geofsrcnn.accessor")


if "xarray" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _WithXarray())
