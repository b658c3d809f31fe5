"""Super-resolution of geospatial rasters: finer grids in the right place, in one piece, in their own units.

The public names stand in ``__init__.pyi`` and nowhere else; each is imported when it is first used, since torch alone
takes seconds. The accessor ``.fsrcnn`` is there as soon as both this package and xarray are imported, in any order.
"""

import lazy_loader

from geofsrcnn._register import register_accessor

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
register_accessor()
