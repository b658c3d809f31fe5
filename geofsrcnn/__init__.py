"""Super-resolution of geospatial rasters: finer grids in the right place, in one piece, in their own units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geofsrcnn.checkpoint import load_checkpoint, save_checkpoint
    from geofsrcnn.errors import GeofsrcnnError, GeofsrcnnWarning
    from geofsrcnn.model import FSRCNN, FSRCNNConfig
    from geofsrcnn.upscale import upscale_array, upscale_raster

__version__ = "0.1.0"

_HOME = {
    "FSRCNN": "model",
    "FSRCNNConfig": "model",
    "GeofsrcnnError": "errors",
    "GeofsrcnnWarning": "errors",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "upscale_array": "upscale",
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
    "upscale_raster",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used: torch alone takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"geofsrcnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
