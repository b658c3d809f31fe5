"""Descriptions of rasters and datasets as upscaling sees them, and of what would become of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geofsrcnn._types import Facts, StrPath
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.files.archives import unpack
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.open import input_format, need_xarray, open_dataset
from geofsrcnn.options import UpscaleOptions


@dataclass(frozen=True)
class BandDescription:
    """A band of a raster.

    Parameters
    ----------
    index : int
        From 1.
    dtype : str
        Of the stored values.
    nodata : float or None
        Stored value of missing cells.
    scale, offset : float
        Values in `unit` are stored ones times `scale` plus `offset`.
    unit, description : str or None
        As the file has them.
    colour : str
        GDAL's colour interpretation.
    kind : str
        What it is taken for, such as ``field`` or ``category``; empty for alpha.
    because : str
        What says so.
    """

    index: int
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    unit: str | None
    description: str | None
    colour: str
    kind: str
    because: str


@dataclass(frozen=True)
class RasterDescription(Facts):
    """A raster.

    Parameters
    ----------
    file : str
        Its path.
    rows, columns : int
        Cells.
    crs : str or None
        Name or WKT.
    affine : tuple of float or None
        From columns and rows to places, as ``affine.Affine`` has them.
    bounds : tuple of float or None
        West, south, east, north in units of the CRS; None of a rotated raster.
    gcps : int
        Ground control points.
    rpcs : bool
        True if it has rational polynomials.
    bands : tuple of BandDescription
        Alpha last.
    mask : bool
        True if it has a mask beside its values.
    refused : str or None
        What `upscale_file` would say of it, if it would refuse it.
    tags : dict of str
        Of the whole file.
    """

    file: str
    rows: int
    columns: int
    crs: str | None
    affine: tuple[float, ...] | None
    bounds: tuple[float, ...] | None
    gcps: int
    rpcs: bool
    bands: tuple[BandDescription, ...]
    mask: bool
    refused: str | None
    tags: dict[str, str]


@dataclass(frozen=True)
class VariableDescription:
    """A variable of a dataset.

    Parameters
    ----------
    name : str
        In the file.
    dimensions : dict of int
        Sizes by name, in order.
    dtype : str
        Of the stored values.
    scale, offset : float
        Values in `unit` are stored ones times `scale` plus `offset`.
    missing : tuple of float
        Stored values of missing cells.
    unit : str
        As the file has it.
    kind : str
        What it is taken for, such as ``field`` or ``category``; empty for what has no cells.
    because : str
        What says so.
    becomes : str
        What upscaling makes of it, such as ``upscaled`` or ``copied``.
    """

    name: str
    dimensions: dict[str, int]
    dtype: str
    scale: float
    offset: float
    missing: tuple[float, ...]
    unit: str
    kind: str
    because: str
    becomes: str


@dataclass(frozen=True)
class DatasetDescription(Facts):
    """A NetCDF or Zarr.

    Parameters
    ----------
    file : str
        Its path.
    format : str
        ``NetCDF`` or ``Zarr``.
    grid : str
        Cells, dimensions and spacing in words.
    variables : tuple of VariableDescription
        All of them.
    """

    file: str
    format: str
    grid: str
    variables: tuple[VariableDescription, ...]


def describe_file(
    path: StrPath, *, driver: str | None = None, inside: str | None = None, group: str | None = None
) -> RasterDescription | DatasetDescription:
    """Describe a raster or dataset as `geofsrcnn.upscale_file` sees it; nothing but its header is read.

    Parameters
    ----------
    path : str or path
        GeoTIFF, NetCDF or Zarr, or a raster that `driver` reads.
    driver : str, optional
        GDAL's, of a raster that is no GeoTIFF.
    inside : str, optional
        The file to read within a ZIP, gzip, bzip2 or xz file.
    group : str, optional
        Of a NetCDF or Zarr that has several.

    Returns
    -------
    RasterDescription or DatasetDescription
        What it holds, and what upscaling takes it for.

    Raises
    ------
    UsageError
        If an argument is for another kind of file.
    GeofsrcnnError
        If it cannot be read, or a dataset has no grid.
    """
    with unpack(local_path(path), inside) as place:
        if (form := input_format(place, driver)) != "GeoTIFF":
            return _describe_dataset(place, form, group)
        if group is not None:
            raise UsageError(f"group= is for NetCDF and Zarr, which {printable(place.name)} is not")
        return _describe_raster(place, driver)


def _describe_dataset(path: Path, kind: str, group: str | None) -> DatasetDescription:
    need_xarray()
    from geofsrcnn.cf.encoding import packing_of
    from geofsrcnn.cf.refine import refine

    with open_dataset(path, UpscaleOptions(group=group), raw=True) as dataset:
        plan = refine(dataset, 2)
        variables = []
        for key, role in plan.roles.items():
            variable, quantity = dataset.variables[key], plan.quantities.get(key)
            packing = packing_of(variable)
            variables.append(
                VariableDescription(
                    name=printable(key),
                    dimensions={printable(str(dim)): size for dim, size in variable.sizes.items()},
                    dtype=str(variable.dtype),
                    scale=packing.scale,
                    offset=packing.offset,
                    missing=tuple(packing.missing.marks),
                    unit=printable(str(variable.attrs.get("units", ""))),
                    kind="" if quantity is None else quantity.kind.value,
                    because="" if quantity is None else printable(quantity.evidence),
                    becomes=role.value,
                )
            )
        return DatasetDescription(printable(path), kind, printable(str(plan.grid)), tuple(variables))


def _describe_raster(path: StrPath, driver: str | None) -> RasterDescription:
    from geofsrcnn.formats.bands import quantities_with_classes
    from geofsrcnn.formats.raster import RasterSource

    with RasterSource(path, UpscaleOptions(driver=driver), allow_classes=True) as source:
        source.check_georeference()
        quantities = [*quantities_with_classes(source, {}), *[None] * len(source.alpha)]
        bands = tuple(
            BandDescription(
                index=band.index,
                dtype=band.dtype.name,
                nodata=band.nodata,
                scale=band.scale,
                offset=band.offset,
                unit=band.unit,
                description=band.description,
                colour=band.colour.name,
                kind="" if quantity is None else quantity.kind.value,
                because="" if quantity is None else printable(quantity.evidence),
            )
            for band, quantity in zip((*source.bands, *source.alpha), quantities, strict=True)
        )
        grid = source.grid
        rotated = grid.affine is not None and bool(grid.affine.b or grid.affine.d)
        return RasterDescription(
            file=printable(source.path),
            rows=grid.shape[0],
            columns=grid.shape[1],
            crs=None if grid.crs is None else printable(grid.crs.to_string()),
            affine=None if grid.affine is None else tuple(grid.affine)[:6],
            bounds=None if grid.affine is None or rotated else tuple(grid.bounds),
            gcps=len(grid.gcps),
            rpcs=grid.rpcs is not None,
            bands=bands,
            mask=source.has_mask,
            refused=source.refusal,
            tags={printable(k): printable(v) for k, v in source.tags.items()},
        )
