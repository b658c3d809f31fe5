"""What outputs hold, as named arrays and facts that say nothing of versions, dates and paths; and their digests."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import netCDF4
import numpy as np
import pyproj
import rasterio
import torch
import xarray as xr
import zarr
from rasterio.errors import NotGeoreferencedWarning

GOLDEN = Path(__file__).with_name("golden.json")

Items = dict[str, Any]
"""Arrays, and facts: values that JSON can hold."""

VOLATILE = {"GEOFSRCNN_VERSION", "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE", "_NCProperties"}
"""Tags and attributes that say versions, dates or paths."""

LONG = 160
"""Characters of texts in facts; longer ones (WKT) are told by their beginning and digest."""

SAMPLES = 16

NOTHING = 1e-9
"""Scores below are rounding: of a least squares' solution, the last bits depend on where arrays lie in memory."""


# ---------------------------------------------------------------------------------------------------------- contents


def plain(value: Any) -> Any:
    """A value as JSON can hold it, its type beside it where that is NumPy's."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, np.ndarray | np.generic):
        return {value.dtype.str if value.dtype.kind != "O" else "object": plain(value.tolist())}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int):
        return value
    text = re.sub(r"geofsrcnn \d[\w.+]*", "geofsrcnn VERSION", str(value))
    if len(text) <= LONG:
        return text
    return f"{text[:40]}... {len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def attributes(attrs: Any) -> dict[str, Any]:
    """Attributes or tags, sorted, but for the volatile ones."""
    return plain({key: value for key, value in dict(attrs).items() if key not in VOLATILE})


def of_tif(path: Path) -> Items:
    """Bands, masks and overviews of a raster, and all that it says about them."""
    items: Items = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            gcps, of_gcps = file.gcps
            items["facts"] = plain(
                {
                    "profile": {k: v for k, v in file.profile.items() if k not in {"crs", "transform"}},
                    "transform": list(file.transform)[:6],
                    "crs": file.crs.to_wkt() if file.crs else None,
                    "gcps": [[p.row, p.col, p.x, p.y, p.z] for p in gcps],
                    "gcps_crs": of_gcps.to_wkt() if of_gcps else None,
                    "tags": {
                        space: attributes(file.tags(ns=space))
                        for space in ["", *sorted(file.tag_namespaces())]
                        if space != "DERIVED_SUBDATASETS"
                    },
                    "colour": [c.name for c in file.colorinterp],
                    "scales": file.scales,
                    "offsets": file.offsets,
                    "units": file.units,
                    "descriptions": file.descriptions,
                    "nodata": file.nodatavals,
                    "masks": [[flag.name for flag in flags] for flags in file.mask_flag_enums],
                    "overviews": [file.overviews(band) for band in file.indexes],
                }
            )
            for band in file.indexes:
                items[f"band {band}"] = file.read(band)
                items["facts"][f"tags {band}"] = attributes(file.tags(band))
                if file.colorinterp[band - 1].name == "palette":
                    items["facts"][f"colours {band}"] = plain(file.colormap(band))
            items["mask"] = file.dataset_mask()
            levels = len(file.overviews(1))
        for level in range(levels):
            with rasterio.open(path, OVERVIEW_LEVEL=level) as file:
                items[f"overview {level}"] = file.read()
    return items


def of_netcdf(path: Path) -> Items:
    """Stored values, types, dimensions, attributes, chunks and filters of every variable."""
    items: Items = {}
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        file.set_auto_chartostring(False)
        variables = {}
        for name, variable in file.variables.items():
            items[name] = np.asarray(variable[...])
            variables[name] = {
                "type": str(variable.dtype),
                "dimensions": variable.dimensions,
                "chunks": variable.chunking(),
                "filters": variable.filters(),
                "attributes": attributes({key: variable.getncattr(key) for key in variable.ncattrs()}),
            }
        items["facts"] = plain(
            {
                "order": list(file.variables),
                "model": file.data_model,
                "groups": sorted(file.groups),
                "dimensions": {name: [len(d), d.isunlimited()] for name, d in file.dimensions.items()},
                "attributes": attributes({key: file.getncattr(key) for key in file.ncattrs()}),
                "variables": variables,
            }
        )
    return items


def of_zarr(path: Path) -> Items:
    """Stored values, types, dimensions, attributes, chunks and compressors of every array."""
    items: Items = {}
    root = zarr.open_group(path, mode="r", use_consolidated=False)
    arrays = {}
    for name, array in sorted(root.arrays()):
        items[name] = np.asarray(array[...])
        arrays[name] = {
            "type": str(array.dtype),
            "dimensions": array.metadata.dimension_names if array.metadata.zarr_format == 3 else None,
            "chunks": array.chunks,
            "fill": array.fill_value,
            "compressors": [re.sub(r" at 0x[0-9a-f]+", "", str(each)) for each in array.compressors],
            "attributes": attributes(array.attrs.asdict()),
        }
    items["facts"] = plain(
        {
            "format": root.metadata.zarr_format,
            "groups": sorted(name for name, _ in root.groups()),
            "attributes": attributes(root.attrs.asdict()),
            "arrays": arrays,
            "consolidated": _is_consolidated(path),
        }
    )
    return items


def _is_consolidated(path: Path) -> bool:
    if (path / ".zmetadata").exists():
        return True
    meta = path / "zarr.json"
    return meta.exists() and bool(json.loads(meta.read_text()).get("consolidated_metadata"))


def of_file(path: Path) -> Items:
    """Of a file or store, by the end of its name."""
    return {".tif": of_tif, ".nc": of_netcdf, ".zarr": of_zarr}[path.suffix](path)


ENCODING = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "units", "calendar")


def of_dataset(given: xr.Dataset | xr.DataArray) -> Items:
    """Values, types, dimensions, attributes and packing of every variable in memory; what is lazy is computed."""
    dataset = given.to_dataset(name=given.name or "unnamed") if isinstance(given, xr.DataArray) else given
    items: Items = {}
    variables = {}
    for key, variable in dataset.variables.items():
        name = str(key)
        chunks = getattr(variable.data, "chunks", None)
        with dask.config.set(scheduler="synchronous"):
            items[name] = np.asarray(variable.values)
        packing = {k: str(v) if k == "dtype" else v for k, v in variable.encoding.items() if k in ENCODING}
        variables[name] = {
            "type": str(variable.dtype),
            "dimensions": variable.dims,
            "chunks": chunks,
            "coordinate": key in dataset.coords,
            "attributes": attributes(variable.attrs),
            "packing": packing,
        }
    items["facts"] = plain(
        {"order": list(dataset.data_vars), "attributes": attributes(dataset.attrs), "variables": variables}
    )
    return items


def of_json(value: Any, *, without: tuple[str, ...] = ()) -> Items:
    """Facts of JSON, and its broken numbers apart as an array, to six significant digits."""
    numbers: list[float] = []

    def walk(each: Any) -> Any:
        if isinstance(each, dict):
            return {key: walk(inner) for key, inner in sorted(each.items()) if key not in without}
        if isinstance(each, list):
            return [walk(inner) for inner in each]
        if isinstance(each, float):
            numbers.append(0.0 if abs(each) < NOTHING else rounded(each))
            return "number"
        return each

    facts = plain(walk(value))
    return {"facts": facts, "numbers": np.array(numbers)}


def under(prefix: str, items: Items) -> Items:
    """Items with a word before their names."""
    return {f"{prefix} / {name}": item for name, item in items.items()}


# ----------------------------------------------------------------------------------------------------------- digests


def rounded(value: float) -> float:
    """To six significant digits."""
    return float(f"{value:.6g}")


def _number(value: float) -> float | None:
    return rounded(value) if math.isfinite(value) else None


def _texts(array: np.ndarray) -> bytes:
    return json.dumps([str(each) for each in array.ravel().tolist()]).encode()


def entry(item: Any) -> dict[str, Any]:
    """What is kept of an item: of facts all of it, of an array its digest and coarse statistics."""
    if not isinstance(item, np.ndarray):
        return {"facts": json.loads(json.dumps(plain(item)))}
    numeric = item.dtype.kind in "biufmM"
    little = item.astype(item.dtype.newbyteorder("<")) if numeric else item
    data = np.ascontiguousarray(little).tobytes() if numeric else _texts(item)
    head = f"{item.dtype.newbyteorder('<').str if numeric else 'text'} {item.shape} "
    kept: dict[str, Any] = {
        "dtype": str(item.dtype) if numeric else "text",
        "shape": list(item.shape),
        "sha256": hashlib.sha256(head.encode() + data).hexdigest(),
    }
    if numeric and item.size:
        values = item.astype("int64" if item.dtype.kind in "mM" else "float64").astype("float64").ravel()
        finite = values[np.isfinite(values)]
        kept["finite"] = int(finite.size)
        if finite.size:
            found = finite.mean(), finite.std(), finite.min(), finite.max()
            kept["stats"] = [rounded(float(each)) for each in found]
        places = np.unique(np.linspace(0, values.size - 1, SAMPLES).round().astype(int))
        kept["samples"] = [_number(float(values[place])) for place in places]
    return kept


def entries(items: Items) -> dict[str, Any]:
    """Of all items of a run."""
    return {name: entry(items[name]) for name in sorted(items)}


def roughly(found: dict[str, Any], kept: dict[str, Any], tolerance: float) -> str:
    """How an array differs from what was kept by more than a share of its range; empty if it does not."""
    for key in ("dtype", "shape"):
        if found[key] != kept[key]:
            return f"{key} {found[key]}, was {kept[key]}"
    if found.get("finite") != kept.get("finite"):
        return f"{found.get('finite')} finite values, were {kept.get('finite')}"
    if "stats" not in kept:
        return ""
    low, high = kept["stats"][2:]
    room = tolerance * (high - low) + 1e-5 * max(abs(low), abs(high))  # the latter: six digits are kept
    room = max(room, 1.0) if np.dtype(kept["dtype"]).kind in "iu" else room  # a half rounds up or down
    for key in ("stats", "samples"):
        for place, (new, old) in enumerate(zip(found[key], kept[key], strict=True)):
            if (new is None) != (old is None) or (new is not None and old is not None and abs(new - old) > room):
                return f"{key}[{place}] is {new}, was {old} (allowed: {room:.3g})"
    return ""


# ------------------------------------------------------------------------------------------------------------ machine


def probe_key() -> dict[str, str]:
    """What the last bits of results depend on: libraries, the processor's kind, and a probe of what it computes.

    The probe uses nothing of the package: a change of the package's results must not look like another machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        hashed = hashlib.sha256()
        for array in _probed():
            hashed.update(np.ascontiguousarray(array).tobytes())
    finally:
        torch.set_num_threads(threads)
    return {
        "probe": hashed.hexdigest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _wave(*shape: int) -> torch.Tensor:
    """A tensor by formula, of numbers that are the same everywhere."""
    count = math.prod(shape)
    return ((torch.arange(count, dtype=torch.float64) * 7919).remainder(1009) / 1009 - 0.5).float().reshape(shape)


def _probed() -> Iterator[np.ndarray]:
    """Sines and products of NumPy; convolutions like the networks', fused and trained, of torch."""
    field = np.linspace(-9, 9, 24 * 31).reshape(24, 31)
    yield np.sin(field)
    yield np.exp(field.astype("float32"))
    yield field @ field.T
    x = _wave(1, 1, 40, 47)
    for outputs, inputs, size in ((64, 1, 5), (32, 64, 1), (32, 32, 3), (64, 32, 1), (9, 64, 9), (5, 9, 1), (16, 5, 3)):
        weight, bias = _wave(outputs, inputs, size, size).requires_grad_(), _wave(outputs).requires_grad_()
        y = torch.nn.functional.prelu(torch.nn.functional.conv2d(x, weight, bias), _wave(outputs) / 4)
        y.square().mean().backward()
        yield y.detach().numpy()
        for part in (weight, bias):
            yield part.grad.numpy()  # type: ignore[union-attr]
        with torch.no_grad():
            geometry = ([0, 0], [1, 1], [1, 1], 1)
            if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
                packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, [1, inputs, 128, 128])
                fused = torch.ops.mkldnn._convolution_pointwise(x, packed, bias, *geometry, "leaky_relu", [0.2], "")
                yield fused.numpy()
        x = y.detach() / y.detach().abs().max()


def library_key() -> dict[str, str]:
    """What the words of outputs depend on: WKT, tags, filters."""
    return {
        "gdal": rasterio.__gdal_version__,
        "rasterio": rasterio.__version__,
        "proj": pyproj.proj_version_str,
        "netcdf": f"{netCDF4.__version__} {netCDF4.__netcdf4libversion__} {netCDF4.__hdf5libversion__}",
        "xarray": xr.__version__,
        "zarr": zarr.__version__,
    }


def differing(found: dict[str, str], kept: dict[str, str]) -> str:
    """What of a key is not as it was, in words."""
    return ", ".join(f"{k} {v[:16]} (kept: {kept.get(k, 'none')[:16]})" for k, v in found.items() if kept.get(k) != v)
