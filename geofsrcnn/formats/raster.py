"""Rasters in: safe open and windowed read of GeoTIFF, and of GDAL's other formats on request.

`RasterSource` is a thin shell around rasterio. It gives values in physical units (``stored * scale + offset``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from geofsrcnn._types import Array, Mask, Range, StrPath
from geofsrcnn.errors import InputError, LimitError, UsageError, printable, warn
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.gdal import GDAL_ERRORS, choose_driver, gdal_message, open_file, quiet, warn_of_sidecars
from geofsrcnn.formats.georeference import period_along, read_grid
from geofsrcnn.formats.metadata import colour_profile, domains_of, grey_ramp, tags_of
from geofsrcnn.formats.nodata import mark_for_mask, nodata_of, warn_of_combination
from geofsrcnn.formats.tiff import has_associated_alpha
from geofsrcnn.formats.writer import MAX_BLOCK
from geofsrcnn.grids.windows import Window
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import Missing, Packing
from geofsrcnn.values.storage import Storage, decode_bands

MAX_RATIO = 1000
"""Largest ratio of declared bytes to file bytes of an input above 1 GiB."""

CACHE = (64 * 2**20, 256 * 2**20)
"""Least and most bytes of GDAL's block cache."""


@dataclass(frozen=True)
class Band:
    """The description of one band of the input."""

    index: int
    dtype: np.dtype[Any]
    nodata: float | None
    scale: float
    offset: float
    description: str | None
    unit: str | None
    colour: ColorInterp
    bits: int | None
    tags: Mapping[str, str] = field(default_factory=dict)
    domains: Mapping[str, dict[str, str]] = field(default_factory=dict)

    @cached_property
    def packing(self) -> Packing:
        """How its values are stored."""
        missing = Missing(() if self.nodata is None else (self.nodata,))
        return Packing(self.dtype, self.scale, self.offset, missing, self.nodata, self.limits)

    @property
    def limits(self) -> Range | None:
        """Smallest and largest stored value where NBITS makes them narrower than the type."""
        if self.bits is None or self.dtype.kind != "u":
            return None
        return 0, 2**self.bits - 1

    def packing_as(self, dtype: str | None) -> Packing:
        """Return how its values are stored in an output of this type; None for its own."""
        return self.packing if dtype is None else replace(self.packing, dtype=np.dtype(dtype), bounds=None)


@dataclass(frozen=True)
class RasterMetadata:
    """The description of a raster that a GeoTIFF takes over.

    Parameters
    ----------
    bands : sequence of Band
        Bands with values.
    alpha : sequence of Band
        Bands that are a mask.
    order : sequence of int
        Indexes of all bands, as they follow each other.
    interleave : {"band", "pixel"}
        Bands one after the other, or cell by cell.
    colourmap : mapping, optional
        Colours of classes.
    tags : mapping
        Tags of the file.
    domains : mapping
        Tags of other domains.
    creation : mapping
        Creation options that say how colours and alpha are meant.
    raw : bool
        Values come as they are stored.
    """

    bands: Sequence[Band]
    alpha: Sequence[Band]
    order: Sequence[int]
    interleave: str
    colourmap: Mapping[int, Any] | None
    tags: Mapping[str, str]
    domains: Mapping[str, dict[str, str]]
    creation: Mapping[str, str]
    raw: bool


class RasterSource:
    """A raster opened for reading windows.

    Parameters
    ----------
    path : str or path
        A local GeoTIFF, or any raster of `driver`.
    options : UpscaleOptions, optional
        Those of raster input.
    raw : bool
        Read stored values, whatever they mean; for repeating cells (nearest).
    allow_classes : bool
        Take a raster that holds classes by its palette and the like, to look at it; not to interpolate it.

    Raises
    ------
    RemoteError, InputError, LimitError, UsageError
        If the file must not or cannot be opened, or holds what cannot be upscaled.
    """

    def __init__(
        self,
        path: StrPath,
        options: UpscaleOptions | None = None,
        *,
        raw: bool = False,
        allow_classes: bool = False,
    ) -> None:
        options = UpscaleOptions() if options is None else options
        driver, sidecars = options.driver, options.sidecars
        self.path, self._options = local_path(path), options
        self._shown = printable(self.path.name)
        self.raw, self._allow_classes = raw, allow_classes
        self._infinite = False
        self._dataset = open_file(self.path, choose_driver(self.path, driver), sidecars=sidecars)
        try:
            if not sidecars:
                warn_of_sidecars(self.path, own=driver is not None)
            with rasterio.Env():  # GDAL's own words go to the log, not to stderr
                self._choose(options.subdataset)
                self._check_size()
                self._describe()
                self._check_meaning()
        except GDAL_ERRORS as error:
            self._dataset.close()
            raise InputError(
                f"cannot read the header of {self._shown} ({gdal_message(error)}): is the file whole?"
            ) from error
        except BaseException:
            self._dataset.close()
            raise

    def _choose(self, subdataset: str | int | None) -> None:
        """Go over to one of several rasters of the file; they are listed only if need be, as that reads all tags."""
        if subdataset is None and self._dataset.count and self._dataset.width:
            return
        names = self._dataset.subdatasets
        shown = ", ".join(printable(name.rpartition(":")[2]) for name in names[:8])
        if subdataset is None:
            if names:
                raise InputError(f"{self._shown} holds several rasters: {shown}: choose one with subdataset=")
            return
        numbers = {str(number): name for number, name in enumerate(names, 1)}
        by_name = [name for name in names if name.rpartition(":")[2].strip('"') == str(subdataset)]
        found = by_name[0] if len(by_name) == 1 else numbers.get(str(subdataset))
        if found is None:
            there = f"there are {len(names)}: {shown}" if names else "it is one raster"
            raise UsageError(f"no subdataset {printable(subdataset)} in {self._shown}: {there}")
        driver = self._dataset.driver
        self._dataset.close()
        with quiet():
            self._dataset = rasterio.open(found, driver=driver, sharing=False)

    def _check_size(self) -> None:
        d = self._dataset
        if not (d.width > 0 and d.height > 0):
            raise InputError(f"raster without cells: {self._shown} ({d.height} x {d.width})")
        if not 0 < d.count <= 65536:
            raise InputError(f"raster with {d.count} bands: {self._shown}: 1 to 65536 can be read")
        if self.block_bytes > MAX_BLOCK and d.driver == "GTiff":
            raise LimitError(
                f"block of {self.block_bytes / 2**20:.0f} MiB in {self._shown} (limit {MAX_BLOCK // 2**20}): "
                "rewrite it with gdal_translate -co TILED=YES"
            )
        if not self._options.allow_sparse:
            self.check_declared(d.height, d.width)

    def check_declared(self, rows: int, columns: int) -> None:
        """Refuse to read so many rows and columns out of a file that is far too small for them.

        Raises
        ------
        LimitError
            If they are more than 1 GiB and `MAX_RATIO` times the file; a VRT's cells lie in other files.
        """
        d, size = self._dataset, self.path.stat().st_size
        declared = rows * columns * d.count * _numpy_type(d.dtypes[0], self._shown).itemsize
        if declared > max(2**30, MAX_RATIO * size) and d.driver != "VRT":
            raise LimitError(
                f"{self._shown} declares {declared / 2**30:.1f} GiB in a file of {size} bytes: if that is meant, use "
                "allow_sparse=True"
            )

    def _describe(self) -> None:
        """Gather all that describes the raster."""
        d = self._dataset
        self._choose_bands()
        self._find_masks()
        self.grid = read_grid(d, self._shown, self._options.crs)
        self.interleave = d.profile.get("interleave", "band")
        self.tags, self.domains = tags_of(d), domains_of(d)
        self._describe_colours()

    def _choose_bands(self) -> None:
        """Choose the bands to upscale, and those of alpha that go along."""
        d, bidx = self._dataset, tuple(self._options.bidx)
        if wrong := [i for i in bidx if i not in d.indexes]:
            raise UsageError(f"no band {wrong[0]} in {self._shown}: it has {d.count}")
        if len(set(bidx)) != len(bidx):
            raise UsageError(f"band given twice: {bidx}")
        self.order = list(bidx or d.indexes)
        self._tagged = [i for i in d.indexes if d.colorinterp[i - 1] == ColorInterp.alpha]
        alpha = self._tagged if self._options.alpha != "none" else []
        self.bands = [self._band(i, self._options.nodata) for i in self.order if i not in alpha]
        self.alpha = [self._band(i, None) for i in self.order if i in alpha]
        self.alpha_index = alpha[0] if alpha else None
        self.alpha_as_mask = bool(alpha) and not self.alpha
        if not self.bands:
            raise InputError(f"no band but alpha in {self._shown}: nothing to upscale")

    def _find_masks(self) -> None:
        """Find the mask of all bands, and those that single bands have."""
        d = self._dataset
        warn_of_combination(d, self._shown)
        alone = [b.index for b in self.bands if not d.mask_flag_enums[b.index - 1]]
        self._masked_alone = alone if len(self.bands) > 1 else []
        self.bands = [self._with_mark(b) for b in self.bands]
        flags = d.mask_flag_enums[self.bands[0].index - 1]
        self.has_mask = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        self.has_mask |= bool(alone) and not self._masked_alone

    def _describe_colours(self) -> None:
        """Gather how colours and alpha are meant."""
        d = self._dataset
        self.creation = dict(colour_profile(d))
        if d.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
            self.creation["PHOTOMETRIC"] = "MINISWHITE"
        self.colourmap = self._colourmap()
        if self.alpha_index is not None and d.driver == "GTiff" and has_associated_alpha(Path(d.name)):
            self.creation["ALPHA"] = "PREMULTIPLIED"
        if self._tagged and self.alpha_index is None:
            values = [replace(b, colour=ColorInterp.undefined) if b.index in self._tagged else b for b in self.bands]
            self.bands, self.creation["ALPHA"] = values, "NO"

    def _band(self, index: int, nodata: float | None) -> Band:
        d, i = self._dataset, index - 1
        dtype = _numpy_type(d.dtypes[i], self._shown)
        stated = nodata_of(d, index, dtype, self.path, nodata)
        bits = d.tags(index, ns="IMAGE_STRUCTURE").get("NBITS")
        scale, offset = d.scales[i], d.offsets[i]
        if not (math.isfinite(scale) and math.isfinite(offset) and scale != 0):
            raise InputError(f"band {index} of {self._shown} has scale {scale} and offset {offset}: fix the tags")
        return Band(
            index=index,
            dtype=dtype,
            nodata=stated,
            scale=scale,
            offset=offset,
            description=d.descriptions[i],
            unit=d.units[i],
            colour=d.colorinterp[i],
            bits=int(bits) if bits and bits.isdigit() else None,
            tags=tags_of(d, index),
            domains=domains_of(d, index),
        )

    def _with_mark(self, band: Band) -> Band:
        """A band of several that has a mask of its own: an output has one mask, so a nodata value stands for it."""
        if band.index not in self._masked_alone or band.nodata is not None:
            return band
        return replace(
            band, nodata=mark_for_mask(band.dtype, f"band {band.index} of {self._shown} has a mask of its own")
        )

    def _colourmap(self) -> dict[int, Any] | None:
        """Colours of classes; none of a ramp of greys, which shows measurements."""
        try:
            colours = dict(self._dataset.colormap(self.bands[0].index))
        except ValueError:
            return None
        if (slope := grey_ramp(colours)) is None:
            return colours
        self.bands[0] = replace(self.bands[0], colour=ColorInterp.gray)
        if slope < 0:
            self.creation["PHOTOMETRIC"] = "MINISWHITE"
        return None

    def _check_meaning(self) -> None:
        for band in self.bands:
            if band.dtype.kind == "c":
                raise InputError(
                    f"complex data in band {band.index} of {self._shown}: "
                    "upscale amplitude and phase's sine and cosine as bands of their own"
                )
        if self.refusal is not None and not (self.raw or self._allow_classes):
            raise InputError(self.refusal)

    @property
    def refusal(self) -> str | None:
        """The words by which all models but nearest refuse it; None if they take it."""
        if self.classes is None:
            return None
        expand = "; for colours expand it first (gdal_translate -expand rgb)" if self.classes == "palette" else ""
        what = f"categorical raster ({self.classes}): {self._shown}"
        return f"{what}: classes are repeated, not interpolated, with model='nearest'{expand}"

    @cached_property
    def classes(self) -> str | None:
        """The sign that the first band holds classes, not measurements; None if there is none."""
        first = self.bands[0]
        layer = {**self.tags, **first.tags}.get("LAYER_TYPE", "")
        if self.colourmap is not None or first.colour == ColorInterp.palette:
            return "palette"
        if layer.lower() == "thematic":
            return "LAYER_TYPE thematic"
        return "1 bit" if first.bits == 1 else None

    def check_georeference(self) -> None:
        """Warn about what the output cannot carry or the raster lacks."""
        g = self.grid
        if g.affine is None and not g.gcps and g.rpcs is None:
            warn("W-NOGEO", f"{self._shown} has no transform: the output has none either")
        elif g.crs is None and g.gcp_crs is None and g.rpcs is None:
            warn("W-NOGEO", f"{self._shown} has no CRS: the output has none either")
        with rasterio.Env():
            pages, domains = len(self._dataset.subdatasets), self._dataset.tag_namespaces()
            sparse = self._has_absent_blocks()
        if pages:
            warn("W-PAGES", f"{self._shown} has {pages} pages: only the first is read, others with subdataset=2")
        if "GEOLOCATION" in domains:
            warn("W-GEOLOC", f"{self._shown} has geolocation arrays, which are dropped: warp it to a grid first")
        if sparse:
            warn("W-SPARSE", f"{self._shown} lacks blocks, which are read as nodata, or as 0 without one")

    def _has_absent_blocks(self) -> bool:
        d = self._dataset
        if d.driver != "GTiff":
            return False
        rows, columns = d.block_shapes[0]
        across, down = -(-d.width // columns), -(-d.height // rows)
        if across * down > 65536:
            return False
        names = (f"BLOCK_OFFSET_{x}_{y}" for y in range(down) for x in range(across))
        return any(d.get_tag_item(name, "TIFF", bidx=1) in (None, "0") for name in names)

    @property
    def metadata(self) -> RasterMetadata:
        """The description that the output takes over."""
        return RasterMetadata(
            bands=self.bands,
            alpha=self.alpha,
            order=self.order,
            interleave=self.interleave,
            colourmap=self.colourmap,
            tags=self.tags,
            domains=self.domains,
            creation=self.creation,
            raw=self.raw,
        )

    def turn_alpha_into_mask(self) -> None:
        """Take alpha bands for a mask, in an output whose type has no alpha; a warning says so."""
        if not self.alpha:
            return
        warn(
            "W-MASK",
            f"the alpha band of {self._shown} becomes a mask, as floats have no alpha: error_file= keeps it",
        )
        own = {band.index for band in self.alpha}
        self.order = [index for index in self.order if index not in own]
        self.alpha, self.alpha_as_mask = [], True

    def declare_nan(self) -> None:
        """Take NaN for the nodata value of bands of floats that declare none, in an output where cells are missing."""
        self.bands = [replace(b, nodata=math.nan) if b.nodata is None else b for b in self.bands]

    @property
    def count(self) -> int:
        """Bands of the file, chosen or not."""
        return int(self._dataset.count)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands to upscale, rows, columns."""
        return len(self.bands), *self.grid.shape

    @cached_property
    def period(self) -> int:
        """Columns that go around the globe, so that the first is the last one's neighbour; 0 if they do not."""
        return period_along(self.grid)

    @property
    def working_type(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""
        if self.raw:
            return self.bands[0].dtype
        return np.result_type(*(band.packing.working_type for band in self.bands))

    def read(self, window: Window, bands: slice) -> Cells:
        """Read a window of some of the bands to upscale.

        Raises
        ------
        InputError
            If a block cannot be read or decoded.
        """
        first = bands.start in (None, 0)
        chosen = self.bands[bands]
        area = RasterioWindow.from_slices(*window.slices())
        try:
            with rasterio.Env():
                stored, shared = self._read_bands(chosen, area), self._shared_mask(area)
                valid = self._with_own_masks(shared, chosen, area)
                alpha = None
                if first and self.alpha:
                    alpha = self._dataset.read([b.index for b in self.alpha], window=area)
                mask = None
                if first and self.has_mask:
                    mask = self._dataset.read_masks(chosen[0].index, window=area)
                elif first and self.alpha_as_mask:
                    mask = 255 * np.asarray(shared, np.uint8)
        except (*GDAL_ERRORS, OSError, MemoryError) as error:
            raise InputError(
                f"cannot read {window} of {self._shown} ({gdal_message(error)}): is the file whole?"
            ) from error
        if not self.raw:
            stored = [self._without_infinities(values) for values in stored]
        storages = [Storage(b.packing, b.packing, b.dtype, self.raw) for b in chosen]
        cells = decode_bands(storages, stored, f"{window} of {self._shown}", valid, lossy=self._options.allow_lossy)
        values = cells.values.astype(self.working_type, copy=False)
        return replace(cells, values=values, alpha=alpha, mask=mask)

    def look(self, window: Window, bands: slice) -> tuple[Array, Mask]:
        """Read stored values and validity of a window of some bands, without warnings."""
        chosen, area = self.bands[bands], RasterioWindow.from_slices(*window.slices())
        with rasterio.Env():
            stored = self._read_bands(chosen, area)
            valid = self._with_own_masks(self._shared_mask(area), chosen, area)
        cells = decode_bands([Storage(b.packing, b.packing, b.dtype, raw=True) for b in chosen], stored, "", valid)
        return cells.values, cells.valid

    def look_at_alpha(self, window: Window) -> Array:
        """Read the alpha band of a window, as stored."""
        with rasterio.Env():
            alpha: Array = self._dataset.read(self.alpha_index, window=RasterioWindow.from_slices(*window.slices()))
        return alpha

    @property
    def block_bytes(self) -> int:
        """Bytes that are read at once for one cell, unpacked."""
        d = self._dataset
        together = d.count if d.profile.get("interleave") == "pixel" else 1
        cell = _numpy_type(d.dtypes[0], self._shown).itemsize
        return int(max(rows * columns for rows, columns in d.block_shapes)) * cell * together

    def _read_bands(self, bands: list[Band], area: RasterioWindow) -> Sequence[Array]:
        """Stored values, each band's of its own type."""
        if len({b.dtype for b in bands}) == 1:
            stored: Array = self._dataset.read([b.index for b in bands], window=area)
            return list(stored)
        return [self._dataset.read(b.index, window=area) for b in bands]

    def _shared_mask(self, area: RasterioWindow) -> Mask | None:
        """Validity by the alpha band and the dataset's mask, the same for all bands."""
        shared: Mask | None = None
        if self.alpha_index is not None:
            shared = self._dataset.read(self.alpha_index, window=area) != 0
        if self.has_mask:
            mask = self._dataset.read_masks(self.bands[0].index, window=area) != 0
            shared = mask if shared is None else shared & mask
        return shared

    def _with_own_masks(self, shared: Mask | None, bands: list[Band], area: RasterioWindow) -> Mask | None:
        """Validity of each band by the mask that all share, and by those that belong to single bands."""
        if not self._masked_alone:
            return None if shared is None else np.broadcast_to(shared, (len(bands), *shared.shape))
        masks: Mask = self._dataset.read_masks([b.index for b in bands], window=area) != 0
        masks |= ~np.isin([b.index for b in bands], self._masked_alone)[:, None, None]
        return masks if shared is None else masks & shared

    def _without_infinities(self, stored: Array) -> Array:
        """Replace infinities by NaN; a warning says so, once."""
        if stored.dtype.kind != "f" or not (infinite := np.isinf(stored)).any():
            return stored
        if not self._infinite:
            self._infinite = True
            warn("W-INF", f"{self._shown} holds infinite values, which are taken as missing")
        return np.where(infinite, np.nan, stored)

    @contextmanager
    def block_cache(self) -> Iterator[None]:
        """GDAL's cache just large enough that no block is decoded twice in a run, within bounds.

        By default it is 5 % of the machine's memory, and written blocks fill it. Restored at the end.
        """
        d = self._dataset
        rows, _ = d.block_shapes[0]
        wanted = 2 * max(rows, 256) * d.width * min(d.count, 16) * self.bands[0].dtype.itemsize
        with rasterio.Env(GDAL_CACHEMAX=min(max(wanted, CACHE[0]), CACHE[1])):
            yield

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_TYPES = {"complex_int16": "complex64", "complex_int32": "complex128"}


def _numpy_type(name: str, shown: str) -> np.dtype[Any]:
    try:
        return np.dtype(_TYPES.get(name, name))
    except TypeError:
        raise InputError(f"type {printable(name)} of {shown} is not known: convert it to float32 first") from None
