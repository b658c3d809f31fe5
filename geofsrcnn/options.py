"""Options of a run: each stands here once, with its checks and what it is for; nothing is opened here."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict

from geofsrcnn.errors import UsageError, printable
from geofsrcnn.machine import count_cores

FACTORS = range(2, 9)

LEARNING_MINUTES = 5.0
"""Minutes that are learned on a scene with a guide, at most, where none are named."""

ALPHA = ("auto", "none")
"""Ways to take bands that are tagged as alpha."""

PRECISIONS = ("float32", "bfloat16")
"""Number formats that networks compute in."""

PRECISION_CHOICES = (*PRECISIONS, "auto")
"""The same, and the faster of them."""

OUTPUT_TYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)

Overshoot: TypeAlias = float | Literal["none"] | None
"""Share of a range by which it may be left; "none": by any; None: what the model says."""


class ArrayOptions(TypedDict, total=False):
    """Keyword arguments of runs over an array, as `UpscaleOptions` describes them."""

    value_range: tuple[float, float] | None
    overshoot: Overshoot
    tile_size: int | None
    threads: int | None
    device: str
    precision: str


class FieldOptions(TypedDict, total=False):
    """Keyword arguments of runs over one field in memory, as `UpscaleOptions` describes them."""

    x: str | None
    y: str | None
    value_range: tuple[float, float] | None
    overshoot: Overshoot
    kinds: Mapping[str, str] | None
    tile_size: int | None
    threads: int | None
    device: str
    precision: str


class GridOptions(FieldOptions, total=False):
    """Those of one field in memory, of which a grid may be wanted instead of a factor: a Dataset or DataArray."""

    like: Any
    resolution: float | tuple[float, float] | None


class DatasetOptions(FieldOptions, total=False):
    """Those of runs over all fields of a dataset in memory, which expected errors or quantiles are added to."""

    error: bool
    quantiles: Sequence[float]


class RasterOptions(TypedDict, total=False):
    """Keyword arguments that say how a raster is read, as `UpscaleOptions` describes them."""

    kinds: Mapping[str, str] | None
    bidx: Sequence[int]
    nodata: float | None
    driver: str | None
    inside: str | None
    subdataset: str | int | None
    crs: str | None
    alpha: str
    sidecars: bool


class FileOptions(RasterOptions, total=False):
    """Keyword arguments of runs over files, as `UpscaleOptions` describes them."""

    value_range: tuple[float, float] | None
    overshoot: Overshoot
    error: bool
    dtype: str | None
    tile_size: int | None
    device: str
    precision: str
    max_pixels: int | None
    bounds: tuple[float, float, float, float] | None
    allow_sparse: bool
    allow_lossy: bool
    cog: bool
    co: Mapping[str, str] | None
    variables: Sequence[str] | None
    x: str | None
    y: str | None
    group: str | None
    also: Sequence[str | os.PathLike[str]]
    quantiles: Sequence[float]


class RunOptions(FileOptions, total=False):
    """Those of a run of its own, which has threads, may replace its output, and may have one more."""

    threads: int | None
    overwrite: bool
    error_file: str | os.PathLike[str] | None
    like: str | os.PathLike[str] | None
    resolution: float | tuple[float, float] | None


def _option(default: Any, applies: str = "") -> Any:
    return field(default=default, metadata={"applies": applies})


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """How something is upscaled; checked when it is made.

    Parameters
    ----------
    value_range : tuple of float, optional
        Smallest and largest value in physical units; results keep to it and blocks keep their means.
    overshoot : float or "none", optional
        Share of the range of the 3 x 3 coarse cells around, 0 to 1, by which fine values may leave it; "none": no
        limit. If not given, what the model says: half for the shipped ones, no limit for classical methods.
    kinds : mapping of str to str, optional
        Kinds of variables, by name, or of bands of a raster, by number, where headers mislead: one of field,
        never-negative, fraction, direction, category and total for each.
    error : bool
        Tell the expected absolute error of each fine cell too; for models that give it. In a GeoTIFF as bands
        ``NAME_error`` behind all others, which makes whole numbers floats.
    error_file : str or path, optional
        A GeoTIFF of its own for the expected errors of a raster, whose values then keep their type; implies `error`.
    like : str or path, optional
        A raster or dataset whose grid is wanted, cell by cell, instead of a factor: the smallest factor that is fine
        enough, then the average by area. Its values and bands do not count.
    resolution : float or tuple of float, optional
        Width, or width and height, of the cells that are wanted instead of a factor, in units of the CRS; the grid
        begins where the input does, and covers all of it.
    dtype : str, optional
        Type of the output instead of the input's; ``float32`` or ``float64`` where NetCDF or Zarr take part.
    tile_size : int, optional
        Coarse cells along one side of a tile; chosen for the device if not given. No effect on the result
        beyond 1e-5 of the local range.
    threads : int, optional
        Threads that compute; all cores if not given.
    device : str
        ``auto`` (CUDA if there is one), ``cpu``, ``cuda``, ``cuda:N``.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the network.
    overwrite : bool
        Replace an existing output.
    max_pixels : int, optional
        Refuse an output of more cells.
    bidx : sequence of int
        Bands of a raster, counted from 1; all if empty.
    nodata : float, optional
        Stored value of a raster's missing cells, instead of the file's.
    driver : str, optional
        GDAL driver to open the input with instead of what its first bytes say.
    inside : str, optional
        Name of the file to read within an input that is a ZIP, gzip, bzip2 or xz file.
    subdataset : str or int, optional
        Page or subdataset of a raster that has several: its name, or its number from 1.
    crs : str, optional
        CRS of a raster that states none, or a wrong one: ``EPSG:32633``, WKT or PROJ.
    alpha : {"auto", "none"}
        "none": a band that is tagged as alpha holds values like any other, such as infrared.
    sidecars : bool
        Let GDAL use sidecar files of a raster.
    allow_sparse : bool
        Accept rasters that declare a thousand times their size.
    bounds : tuple of float, optional
        ``(west, south, east, north)`` in a raster's CRS: only the coarse cells that meet it. They come out
        as they would from the whole raster.
    allow_lossy : bool
        Accept 64-bit integers beyond 2**53, which lose digits.
    cog : bool
        Write a cloud optimised GeoTIFF with overviews.
    co : mapping of str, optional
        GDAL creation options of a GeoTIFF.
    variables : sequence of str, optional
        Fields of a NetCDF or Zarr to upscale; the others on the grid are left out. All if not given.
    x, y : str, optional
        Horizontal dimensions of a NetCDF or Zarr, where they cannot be found.
    group : str, optional
        Group of a NetCDF or Zarr that has several.
    also : sequence of path
        More files with predictors, for a model that was trained on pairs.
    quantiles : sequence of float
        Shares between 0 and 1 of which quantiles are given too, ``NAME_q10`` for 0.1, by a model of pairs that was
        trained with ``distribution``.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    value_range: tuple[float, float] | None = _option(None, "a field of its own")
    overshoot: float | Literal["none"] | None = _option(None, "a field of its own")
    kinds: Mapping[str, str] | None = _option(None, "a field of its own")
    error: bool = _option(default=False)
    error_file: str | None = _option(None, "raster to GeoTIFF")
    like: str | None = _option(None, "a field of its own")
    resolution: tuple[float, float] | None = _option(None, "a field of its own")
    dtype: str | None = _option(None, "a field of its own")
    tile_size: int | None = _option(None, "a field of its own")
    threads: int | None = _option(None)
    device: str = _option("auto")
    precision: str = _option("float32")
    overwrite: bool = _option(default=False)
    max_pixels: int | None = _option(None, "a field of its own")
    bidx: Sequence[int] = _option((), "raster input")
    nodata: float | None = _option(None, "raster input")
    driver: str | None = _option(None, "a field of its own")
    inside: str | None = _option(None, "a field of its own")
    subdataset: str | int | None = _option(None, "raster input")
    crs: str | None = _option(None, "raster input")
    alpha: str = _option("auto", "raster input")
    sidecars: bool = _option(False, "raster input")
    allow_sparse: bool = _option(False, "raster input")
    bounds: tuple[float, float, float, float] | None = _option(None, "raster to GeoTIFF")
    allow_lossy: bool = _option(False, "raster to GeoTIFF")
    cog: bool = _option(False, "GeoTIFF output")
    co: Mapping[str, str] | None = _option(None, "GeoTIFF output")
    variables: Sequence[str] | None = _option(None, "dataset input")
    x: str | None = _option(None, "dataset input")
    y: str | None = _option(None, "dataset input")
    group: str | None = _option(None, "dataset input")
    also: Sequence[str | os.PathLike[str]] = _option((), "pairs")
    quantiles: Sequence[float] = _option((), "pairs")

    def __post_init__(self) -> None:
        plain = {
            "value_range": _numbers(self.value_range, "value_range=", "a smaller and a larger number", 2),
            "bounds": _numbers(self.bounds, "bounds=", "four numbers, west below east and south below north", 4),
            "bidx": _indexes(self.bidx),
            "variables": _texts(self.variables, "variables"),
            "also": _texts(self.also, "also") or (),
            "quantiles": _shares(self.quantiles),
            "co": dict(self.co or {}),
            "kinds": _named_kinds(self.kinds),
            "error_file": _path(self.error_file, "error_file"),
            "like": _path(self.like, "like"),
            "resolution": _sides(self.resolution),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        check_range(self.value_range)
        check_overshoot(self.overshoot)
        check_bounds(self.bounds)
        if self.max_pixels is not None and not _is_positive(self.max_pixels):
            raise UsageError(f"max_pixels= must be a positive whole number, got {self.max_pixels!r}")
        if self.nodata is not None and not isinstance(self.nodata, Real):
            raise UsageError(f"nodata must be a number, got {self.nodata!r}")
        if not isinstance(self.device, str):
            raise UsageError(f"device must be auto, cpu, cuda or cuda:N, got {self.device!r}")
        if not isinstance(self.error, bool):
            raise UsageError(f"error= must be True or False, got {self.error!r}")
        if self.alpha not in ALPHA:
            raise UsageError(f"alpha must be one of {', '.join(ALPHA)}, got {self.alpha!r}")
        if self.error_file is not None:
            object.__setattr__(self, "error", True)
        if self.like is not None and (self.resolution is not None or self.bounds is not None):
            raise UsageError("like= says which cells are wanted: leave out resolution= and bounds=")
        check_tile_size(self.tile_size)
        check_dtype(self.dtype)
        self._check_error_type()
        check_precision(self.precision)
        workers_of(self.threads)

    def _check_error_type(self) -> None:
        """Refuse whole numbers for bands of errors."""
        if self.error and self.error_file is None and self.dtype is not None and not self.dtype.startswith("float"):
            raise UsageError(
                f"expected errors beside the values are not written as {self.dtype}: take dtype='float32', or a file "
                "of their own with error_file="
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> UpscaleOptions:
        """Build options from keyword arguments.

        Parameters
        ----------
        options : mapping of str
            Values by the names of parameters.

        Returns
        -------
        UpscaleOptions
            Checked.

        Raises
        ------
        UsageError
            If there is no such option, or a value makes no sense.
        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(options) - known):
            raise UsageError(f"unknown arguments {', '.join(unknown)}: there are {', '.join(sorted(known))}")
        return cls(**options)

    @property
    def wants_grid(self) -> bool:
        """True if a grid is wanted instead of a factor."""
        return self.like is not None or self.resolution is not None

    @property
    def wanted_cells(self) -> str:
        """Which cells are wanted instead of a factor, in words."""
        if self.like is not None:
            return f"the cells of {printable(Path(self.like).name)}"
        return "cells of " + " x ".join(f"{each:g}" for each in self.resolution or ())

    @property
    def workers(self) -> int:
        """Threads that compute, one for each core if their number is not given."""
        return workers_of(self.threads)

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults; an empty sequence or mapping does not.

        Returns
        -------
        dict
            Their values by name.
        """
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default and not _is_empty(value)}

    def refuse_formats(self, source: str, target: str) -> None:
        """Refuse options that have no meaning for an input and an output of these formats.

        Parameters
        ----------
        source, target : {"GeoTIFF", "NetCDF", "Zarr"}
            "GeoTIFF" stands for any raster.

        Raises
        ------
        UsageError
            With what to do instead.
        """
        raster_in, raster_out = source == "GeoTIFF", target == "GeoTIFF"
        meaningless = {
            "raster input": not raster_in,
            "raster to GeoTIFF": not (raster_in and raster_out),
            "GeoTIFF output": not raster_out,
            "dataset input": raster_in,
        }
        self._refuse(lambda applies: meaningless.get(applies, False), _INSTEAD)

    def refuse_pairs(self, *, of_pairs: bool) -> None:
        """Refuse options that have no meaning for a model that was trained on pairs, or for any other.

        Parameters
        ----------
        of_pairs : bool
            True for a model that was trained on pairs.

        Raises
        ------
        UsageError
            If there is one.
        """
        words = {each.name: f"{each.name}= is not for models that were trained on pairs" for each in fields(self)}
        if of_pairs:
            self._refuse(lambda applies: applies not in ("", "pairs"), words)
        else:
            self._refuse(lambda applies: applies == "pairs", _INSTEAD)

    def _refuse(self, meaningless: Callable[[str], bool], words: Mapping[str, str]) -> None:
        given = self.given()
        for each in fields(self):
            if each.name in given and meaningless(each.metadata["applies"]):
                raise UsageError(words.get(each.name, f"{each.name}= has no meaning for this input or output"))


_INSTEAD = {
    "error_file": "error_file= is for rasters and GeoTIFF: elsewhere error=True adds variables NAME_error",
    "also": "also= is for models that were trained on pairs",
    "quantiles": "quantiles= is for models that were trained on pairs",
    "bounds": "bounds= cuts rasters: cut a dataset before (xarray's sel, or ncks)",
    "cog": "cog= needs a GeoTIFF output",
    "co": "co= needs a GeoTIFF output",
    "allow_lossy": "allow_lossy= is for rasters",
    "bidx": "bidx= is for rasters: choose fields with variables=",
    "nodata": "nodata= is for rasters: a dataset says with _FillValue which cells are missing",
    "subdataset": "subdataset= is for rasters: choose fields with variables=, groups with group=",
    "crs": "crs= is for rasters: a dataset says it in its grid mapping",
    "alpha": "alpha= is for rasters",
    "sidecars": "sidecars= is for rasters",
    "allow_sparse": "allow_sparse= is for rasters",
    "variables": "variables= is for NetCDF and Zarr: choose bands with bidx=",
    "x": "x= and y= are for NetCDF and Zarr",
    "y": "x= and y= are for NetCDF and Zarr",
    "group": "group= is for NetCDF and Zarr",
}
"""Remedies, where an option has no meaning."""


def _numbers(values: Any, name: str, wanted: str, count: int) -> Any:
    """So many numbers as a tuple, or none."""
    if values is None:
        return None
    try:
        found = () if isinstance(values, str | bytes) else tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count:
        raise UsageError(f"{name} must be {wanted}, got {values!r}")
    return found


def _named_kinds(kinds: Any) -> dict[str, str]:
    """Names and kinds; which kinds there are, `values.quantity` says."""
    try:
        pairs = list(kinds.items() if isinstance(kinds, Mapping) else kinds or ())
        found = dict(pairs)
    except (TypeError, ValueError):
        raise UsageError(f"kinds must be names with a kind each, got {kinds!r}") from None
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UsageError(f"kinds= names {printable(twice)} twice: give one kind")
    if not all(isinstance(word, str) for pair in found.items() for word in pair):
        raise UsageError(f"kinds must be names with a kind each, got {kinds!r}")
    return found


def _indexes(values: Any) -> tuple[int, ...]:
    """Band numbers as a tuple."""
    found = () if values is None else tuple(values)
    if not all(_is_positive(value) for value in found):
        raise UsageError(f"bidx must be band numbers from 1, got {values!r}")
    return tuple(int(value) for value in found)


def _shares(values: Any) -> tuple[float, ...]:
    """Shares between 0 and 1 as a tuple, each once; one alone is taken as such."""
    try:
        found = tuple(float(value) for value in ((values,) if isinstance(values, Real) else values or ()))
    except (TypeError, ValueError):
        found = (math.nan,)
    if not all(0 < share < 1 for share in found) or len(set(found)) < len(found):
        raise UsageError(f"quantiles= must be different shares between 0 and 1, such as 0.1 and 0.9, got {values!r}")
    return found


def _texts(values: Any, name: str) -> tuple[str, ...] | None:
    """Names or paths as a tuple; one alone is taken as such."""
    if values is None:
        return None
    if isinstance(values, (str, os.PathLike)):
        values = (values,)
    if not isinstance(values, Iterable):
        raise UsageError(f"{name} must be names, got {values!r}")
    return tuple(os.fspath(value) if isinstance(value, os.PathLike) else value for value in values)


def _sides(value: Any) -> tuple[float, float] | None:
    """Width and height of cells, of one number both."""
    if value is None:
        return None
    sides = (value, value) if isinstance(value, Real) and not isinstance(value, bool) else value
    found = _numbers(sides, "resolution=", "the width of a cell, or its width and height", 2)
    if not all(0 < each < math.inf for each in found):
        raise UsageError(f"resolution= must be above 0, got {value!r}")
    return (found[0], found[1])


def _path(value: Any, name: str) -> str | None:
    """A path as text, or none."""
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{name}= must be the name of a file, got {type(value).__name__}")
    return None if value is None else str(os.fspath(value))


def _is_empty(value: object) -> bool:
    return isinstance(value, (Mapping, Sequence)) and not value


def check_factor(factor: float) -> int:
    """The factor as an int.

    Raises
    ------
    UsageError
        If it is not a whole number from 2 to 8.
    """
    if isinstance(factor, bool) or factor not in FACTORS:
        raise UsageError(f"factor must be a whole number from {FACTORS[0]} to {FACTORS[-1]}, got {factor!r}")
    return int(factor)


def check_precision(precision: str) -> None:
    """Refuse a precision that no network computes in.

    Raises
    ------
    UsageError
        If there is no such one.
    """
    if precision not in PRECISION_CHOICES:
        raise UsageError(f"precision must be one of {', '.join(PRECISION_CHOICES)}, got {precision!r}")


def check_tile_size(tile_size: int | None) -> None:
    """Refuse tile sizes that no model can use.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if tile_size is not None and not _is_positive(tile_size):
        raise UsageError(f"tile size must be a positive whole number, got {tile_size!r}")


def workers_of(threads: int | None) -> int:
    """Threads that compute: those asked for, or one for each core.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if threads is None:
        return count_cores()
    if not _is_positive(threads):
        raise UsageError(f"threads must be a positive whole number, got {threads!r}")
    return int(threads)


def _is_positive(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1  # type: ignore[operator]


def check_overshoot(overshoot: Overshoot) -> None:
    """Refuse what is no share of a range.

    Raises
    ------
    UsageError
        If it is no number from 0 to 1, nor "none".
    """
    if overshoot not in (None, "none") and not is_share(overshoot):
        raise UsageError(f"overshoot= must be a number from 0 to 1, or none, got {overshoot!r}")


def is_share(value: object) -> bool:
    """True for a number from 0 to 1."""
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= value <= 1  # type: ignore[operator]


def check_range(value_range: tuple[float, float] | None) -> None:
    """Refuse ranges that are none.

    Raises
    ------
    UsageError
        If they are not two numbers in order.
    """
    if value_range is None:
        return
    low, high = value_range
    if math.isnan(low) or math.isnan(high) or not low < high:
        raise UsageError(f"value_range= must be a smaller and a larger number, got {low:g} {high:g}")


def check_dtype(dtype: str | None) -> None:
    """Refuse types that no output has.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if dtype is not None and dtype not in OUTPUT_TYPES:
        raise UsageError(f"type '{printable(dtype)}' cannot be written: take one of {', '.join(OUTPUT_TYPES)}")


def check_bounds(bounds: tuple[float, float, float, float] | None) -> None:
    """Refuse bounds that are none.

    Raises
    ------
    UsageError
        If they are not four numbers in order.
    """
    if bounds is None:
        return
    west, south, east, north = bounds
    if not all(map(math.isfinite, bounds)) or not (west < east and south < north):
        raise UsageError(f"bounds= must be four numbers, west below east and south below north, got {bounds}")
