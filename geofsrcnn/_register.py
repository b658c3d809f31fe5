"""The accessor is registered as soon as xarray is imported, before or after this package.

Importing xarray here would be simpler, and would cost whoever only upscales rasters 0.9 s (0.07 s without, two cores);
an ``import geofsrcnn.accessor`` that users add would be forgotten: import sorters put geofsrcnn before xarray, and the
accessor would be missing without a word in most scripts.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def register_accessor() -> None:
    """Register the accessor now if xarray is loaded, else when it is."""
    if "xarray" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WithXarray())


def _register() -> None:
    """Register the accessor, if what it needs is installed."""
    if find_spec("cf_xarray") is not None:
        importlib.import_module("geofsrcnn.accessor")


class _WithXarray(importlib.abc.MetaPathFinder):
    """Finds xarray as ever, and registers the accessor once it is loaded."""

    looking = False

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """The spec of xarray, with a loader that registers the accessor afterwards."""
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
