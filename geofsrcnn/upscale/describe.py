"""What a NetCDF or Zarr holds, and what would become of it."""

from __future__ import annotations

from typing import Any

from geofsrcnn._types import StrPath
from geofsrcnn.errors import printable
from geofsrcnn.files.archives import refuse_packed
from geofsrcnn.files.kinds import FORMATS, sniff
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.open import need_xarray, open_dataset
from geofsrcnn.options import UpscaleOptions


def describe_file(name: StrPath, group: str | None = None) -> dict[str, Any] | None:
    """The grid of a NetCDF or Zarr, and what becomes of its variables; None of other files.

    Raises
    ------
    GeofsrcnnError
        If it cannot be read, or has no grid.
    """
    path = local_path(name)
    found = sniff(path)
    refuse_packed(path, found)
    kind = FORMATS.get(found)
    if kind is None:
        return None
    need_xarray()
    from geofsrcnn.cf.encoding import packing_of
    from geofsrcnn.cf.refine import refine

    with open_dataset(path, UpscaleOptions(group=group), raw=True) as dataset:
        plan = refine(dataset, 2)
        variables = []
        for key, role in plan.roles.items():
            variable, packing = dataset.variables[key], packing_of(dataset.variables[key])
            variables.append(
                {
                    "name": printable(key),
                    "dimensions": {printable(str(dim)): size for dim, size in variable.sizes.items()},
                    "type": str(variable.dtype),
                    "scale": packing.scale,
                    "offset": packing.offset,
                    "missing": list(packing.missing.marks),
                    "unit": printable(str(variable.attrs.get("units", ""))),
                    "kind": plan.quantities[key].kind.value if key in plan.quantities else "",
                    "because": printable(plan.quantities[key].evidence) if key in plan.quantities else "",
                    "becomes": role.value,
                }
            )
        return {"file": printable(path), "format": kind, "grid": printable(str(plan.grid)), "variables": variables}
