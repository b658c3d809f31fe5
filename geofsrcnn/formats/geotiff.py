"""GeoTIFF out: all that describes the raster kept or rescaled, every written cell read back before it is published.

Values come in physical units and are stored as ``(value - offset) / scale``, rounded and clipped for integers.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from geofsrcnn._types import Array, Write
from geofsrcnn.errors import InputError, OutputError, UsageError, warn
from geofsrcnn.files.staging import no_room, syncing
from geofsrcnn.formats.creation import Format, default_compression, takes_predictor, writing_env
from geofsrcnn.formats.gdal import GDAL_ERRORS, gdal_message, quiet
from geofsrcnn.formats.georeference import DatedCRS
from geofsrcnn.formats.raster import Band, RasterMetadata
from geofsrcnn.formats.readback import Readback, Written
from geofsrcnn.formats.tiff import NODATA_PLACEHOLDER, nodata_text, write_nodata
from geofsrcnn.formats.writer import DIFFERS, checksum, mismatch
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import EXACT, Missing, stored_nodata
from geofsrcnn.values.storage import Storage, encode_bands

ALPHA_TYPES = ("uint8", "uint16")
"""Types whose alpha bands readers take for a mask."""

VERIFY_BATCH = 16
"""Windows that are read back together."""


@dataclass(frozen=True)
class _Part:
    """A window of some bands as it is stored; of the mask without `indexes`."""

    stored: Array
    indexes: tuple[int, ...]
    checksum: int


class GeoTiffSink:
    """A GeoTIFF written in windows and verified, in a ``with`` block of the thread that writes.

    Parameters
    ----------
    path : Path
        A new file, in a folder of its own.
    metadata : RasterMetadata
        The description that the output takes over.
    grid : Grid
        The fine grid.
    block : int
        Rows and columns of a written window, which become the file's blocks where TIFF allows it.
    form : Format
        How to write.
    split : bool
        Whether bands are written in several groups.
    threads : int
        Threads that compress; the bytes of the file do not depend on it.

    Raises
    ------
    UsageError, InputError, OutputError
        If an option is wrong, the bands do not fit one file, or writing fails.
    """

    def __init__(
        self,
        path: Path,
        metadata: RasterMetadata,
        grid: Grid,
        block: int,
        form: Format,
        *,
        split: bool = False,
        threads: int = 1,
    ) -> None:
        self._path, self._metadata, self._grid, self._form = path, metadata, grid, form
        self._bands = {b.index: b for b in (*metadata.bands, *metadata.alpha)}
        self._order = list(metadata.order)
        self._position = {index: place for place, index in enumerate(self._order, 1)}
        self.dtype = self._output_type()
        self.nodata = self._output_nodata()
        self._storages = {b.index: self._storage(b) for b in metadata.bands}
        self._writes: list[Written] = []
        options = self._creation_options(block, split=split)
        if threads > 1:
            options.setdefault("num_threads", threads)
        self._env = rasterio.Env()  # which costs too much for each write
        self._written = _before_cog(path) if form.cog else path
        try:
            with writing_env(), quiet():
                self._dataset = rasterio.open(self._written, "w", **options)
                self._describe()
        except (*GDAL_ERRORS, OSError, ValueError, TypeError) as error:
            raise self._failed("cannot create the output", error) from error

    def _failed(self, what: str, error: BaseException) -> OutputError:
        """An error with GDAL's reason, and whether there was no room."""
        return OutputError(f"{what} ({gdal_message(error)}){no_room(error, self._path)}")

    def _output_type(self) -> np.dtype[Any]:
        types = {b.dtype for b in self._bands.values()}
        if self._form.dtype is not None:
            if self._metadata.alpha and self._form.dtype not in ALPHA_TYPES:
                raise UsageError(
                    f"an alpha band cannot be {self._form.dtype}: take uint8 or uint16, or leave it out with bidx= (a "
                    "mask is written instead)"
                )
            return np.dtype(self._form.dtype)
        if len(types) > 1:
            names = ", ".join(sorted(t.name for t in types))
            raise InputError(f"bands of several types ({names}) do not fit one GeoTIFF: give dtype= or bidx=")
        return types.pop()

    def _output_nodata(self) -> float | None:
        stated = {_spell(b.nodata) for b in self._metadata.bands}
        if stated == {"none", "nan"}:  # which is missing in all bands
            stated = {"nan"}
        if len(stated) > 1:
            raise InputError(
                f"bands state several nodata values ({', '.join(sorted(stated))}), a GeoTIFF holds one: "
                "upscale them one by one with bidx=, or say with nodata= what stands for missing cells in all"
            )
        if stated == {"none"}:
            return None
        value = next(b.nodata for b in self._metadata.bands if b.nodata is not None)
        if stored_nodata(value, self.dtype) is None:
            raise UsageError(f"nodata {value} cannot be stored as {self.dtype}: choose another type with dtype=")
        return value

    def _storage(self, band: Band) -> Storage:
        """Return how a band is stored; numbers that come as they are stored are not packed again."""
        packing = replace(band.packing_as(self._form.dtype), dtype=self.dtype, missing=Missing(), mark=self.nodata)
        if self._metadata.raw:
            packing = replace(packing, scale=1.0, offset=0.0)
        return Storage(band.packing, packing, self.dtype)

    @property
    def _on_disk(self) -> bool:
        """True if the output is a file, not the rehearsal of one in GDAL's memory."""
        return not os.fspath(self._path).startswith("/vsimem/")

    @property
    def _exact_nodata(self) -> int | None:
        """A nodata value that rasterio would round to a double."""
        exact = self.nodata is not None and self.dtype.kind in "iu" and abs(self.nodata) > EXACT
        return int(self.nodata) if exact and self.nodata is not None else None

    def _creation_options(self, block: int, *, split: bool) -> dict[str, Any]:
        g, metadata = self._grid, self._metadata
        size = block if block % 16 == 0 else 256
        size = min(size, -(-max(g.shape) // 16) * 16)
        options: dict[str, Any] = {
            "DRIVER": "GTiff",
            "HEIGHT": g.shape[0],
            "WIDTH": g.shape[1],
            "COUNT": len(self._order),
            "DTYPE": self.dtype.name,
            "NODATA": self.nodata if self._exact_nodata is None else NODATA_PLACEHOLDER,
            "CRS": DatedCRS.of(g.crs, g.epoch),
            "TRANSFORM": g.affine,
        }
        given = {key.upper(): value for key, value in self._form.options.items()}
        options |= {
            "BIGTIFF": "IF_SAFER",
            "INTERLEAVE": "pixel" if metadata.interleave == "pixel" and not split else "band",
            "TILED": "YES",
            "BLOCKXSIZE": size,
            "BLOCKYSIZE": size,
            **self._colours(),
        }
        if narrow := self._narrow_bits():
            options["NBITS"] = narrow
        if self._form.cog:  # GDAL's COG driver copies this file and takes the options that were asked for
            given = {}
        options |= default_compression(given, self.dtype, "NBITS" in options) | given
        return {key.lower(): value for key, value in options.items() if value is not None}

    def _narrow_bits(self) -> int | None:
        """Bits of unsigned integers where the input has fewer than its type."""
        bits = {b.bits for b in self._metadata.bands}
        if len(bits) != 1 or self._form.dtype is not None or self.dtype.kind != "u":
            return None
        (narrow,) = bits
        return narrow if narrow and narrow < 8 * self.dtype.itemsize else None

    def _colours(self) -> dict[str, str]:
        colours = [self._bands[i].colour for i in self._order]
        options = dict(self._metadata.creation)
        kind = options.pop("ALPHA", "YES")
        lost = {
            "that colours are multiplied with alpha": kind == "PREMULTIPLIED" and ColorInterp.alpha in colours,
            "that the smallest value is white": options.get("PHOTOMETRIC") == "MINISWHITE",
        }
        for what, there in lost.items():
            if there and self._form.cog:
                warn("W-COG", f"GDAL's COGs cannot say {what}: leave out cog=True to keep that")
        if colours[:3] == [ColorInterp.red, ColorInterp.green, ColorInterp.blue] and self.dtype.itemsize <= 2:
            options["PHOTOMETRIC"] = "RGB"
        if ColorInterp.alpha in colours or kind == "NO":
            options["ALPHA"] = kind
        return options

    def _describe(self) -> None:
        d, metadata = self._dataset, self._metadata
        if metadata.colourmap is not None and self.dtype.name in ("uint8", "uint16"):
            d.write_colormap(1, metadata.colourmap)
        else:
            d.colorinterp = [self._bands[i].colour for i in self._order]
        d.descriptions = [self._bands[i].description for i in self._order]
        d.units = [self._bands[i].unit or "" for i in self._order]
        d.scales = [self._bands[i].scale for i in self._order]
        d.offsets = [self._bands[i].offset for i in self._order]
        for index in self._order:
            d.update_tags(self._position[index], **_without_reserved(self._bands[index].tags))
            for name, tags in self._bands[index].domains.items():
                d.update_tags(self._position[index], ns=name, **_of_domain(name, tags))
        for name, tags in metadata.domains.items():
            d.update_tags(ns=name, **_of_domain(name, tags))
        d.update_tags(**{**_without_reserved(metadata.tags), **self._form.provenance})
        g = self._grid
        if g.gcps:
            points = [
                GroundControlPoint(row=row, col=column, x=x, y=y, z=z, id=name, info=info)
                for row, column, x, y, z, name, info in g.gcps
            ]
            d.gcps = (points, g.gcp_crs or CRS())
        if g.rpcs is not None:
            d.rpcs = g.rpcs

    def write(self, window: Window, cells: Cells, bands: slice) -> None:
        """Encode and write at once."""
        self.prepare(window, cells, bands)()

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Encode a window of some of the bands to upscale, and what of alpha and mask its cells hold.

        What is returned raises `OutputError` if writing fails.
        """
        chosen = self._metadata.bands[bands]
        names = [f"band {b.index}" for b in chosen]
        stored = encode_bands([self._storages[b.index] for b in chosen], cells, names)
        parts = [_Part(stored, self._positions(chosen), checksum(stored))]
        if cells.alpha is not None:
            alpha = _alpha(cells.alpha, self.dtype)
            parts.append(_Part(alpha, self._positions(self._metadata.alpha), checksum(alpha)))
        if cells.mask is not None:
            parts.append(_Part(cells.mask, (), checksum(cells.mask)))
        return partial(self._write, window, parts)

    def _positions(self, bands: Sequence[Band]) -> tuple[int, ...]:
        return tuple(self._position[band.index] for band in bands)

    def _write(self, window: Window, parts: Sequence[_Part]) -> None:
        area = RasterioWindow.from_slices(*window.slices())
        try:
            for part in parts:
                self._put(part, area)
                self._writes.append(Written(window, part.indexes, part.checksum))
        except (*GDAL_ERRORS, OSError, ValueError) as error:
            raise self._failed("cannot write the output", error) from error

    def _put(self, part: _Part, area: RasterioWindow) -> None:
        stored = np.ascontiguousarray(part.stored)
        if part.indexes:
            self._dataset.write(stored, indexes=part.indexes, window=area)
        else:
            with writing_env():
                self._dataset.write_mask(stored, window=area)

    def finish(self, each_window: Callable[[], None] = lambda: None, threads: int = 4) -> None:
        """Close the file, make it a COG if asked, and read back every window, calling `each_window` after each.

        Raises
        ------
        OutputError
            If the file is not what was written.
        """
        try:
            with writing_env():
                self._dataset.close()
                if self._exact_nodata is not None and self._on_disk:
                    write_nodata(self._written, self._exact_nodata)
                if self._form.cog:
                    self._to_cog()
        except (*GDAL_ERRORS, OSError) as error:
            raise self._failed("cannot finish the output", error) from error
        with syncing(self._path) if self._on_disk else nullcontext():
            self._verify(each_window, threads)

    def _to_cog(self) -> None:
        categories = self._metadata.colourmap is not None
        given = {key.upper(): value for key, value in self._form.options.items()}
        options = {"COMPRESS": given.get("COMPRESS", "DEFLATE"), "BIGTIFF": "IF_SAFER"}
        options["RESAMPLING"] = "NEAREST" if categories else "AVERAGE"
        if takes_predictor(options["COMPRESS"], odd_bits=self._narrow_bits() is not None):
            options["PREDICTOR"] = "YES"
        options |= given
        rasterio.shutil.copy(self._written, self._path, driver="COG", **options)
        rasterio.shutil.delete(self._written, driver="GTiff")

    def _verify(self, each_window: Callable[[], None], threads: int) -> None:
        """Compare the file with what was written: its description, then every window, on a few threads."""
        batches = [self._writes[i : i + VERIFY_BATCH] for i in range(0, len(self._writes), VERIFY_BATCH)]
        file = Readback(self._path, on_disk=self._on_disk)
        pool = ThreadPoolExecutor(min(threads, os.cpu_count() or 1), "geofsrcnn-verify")
        try:
            with quiet():
                with file.open() as dataset:
                    self._verify_description(dataset)
                for _ in pool.map(file.compare, batches):
                    each_window()
        except (*GDAL_ERRORS, MemoryError) as error:
            raise self._failed(DIFFERS, error) from error
        finally:
            pool.shutdown(cancel_futures=True)
            file.close()

    def _verify_description(self, d: Any) -> None:
        rows, columns = self._grid.shape
        same = (d.height, d.width, d.count) == (rows, columns, len(self._order))
        same &= d.dtypes[0] == self.dtype.name
        if self._exact_nodata is None:
            same &= _same_nodata(d.nodata, self.nodata)
        elif self._on_disk:
            same &= nodata_text(self._path) == str(self._exact_nodata)
        same &= (d.crs is None) == (self._grid.crs is None or bool(self._grid.gcps))
        same &= self._grid.affine is None or d.transform.almost_equals(self._grid.affine, 1e-9)
        same &= all(d.tags().get(key) == value for key, value in self._form.provenance.items())
        if not same:
            raise mismatch("size, type, nodata, CRS, transform or tags", self._path)

    def __enter__(self) -> GeoTiffSink:
        self._env.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abandon()
        self._env.__exit__()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        if not self._dataset.closed:
            try:
                with writing_env():
                    self._dataset.close()
            except (*GDAL_ERRORS, OSError):
                return  # the first error counts; the file is about to be removed


def rehearse(metadata: RasterMetadata, grid: Grid, form: Format, *, masked: bool = False) -> None:
    """Write a tiny output like the one to come in memory, and read it back: what fails, fails before the work.

    Raises
    ------
    UsageError, InputError, OutputError
        As `GeoTiffSink` would.
    """
    rows, columns = (min(n, 32) for n in grid.shape)
    folder = f"/vsimem/geofsrcnn-{secrets.token_hex(8)}"
    path = Path(folder, "tiny.tif")
    try:
        with GeoTiffSink(path, metadata, replace(grid, shape=(rows, columns)), 32, form) as sink:
            values = np.zeros((1, rows, columns), sink.dtype)
            alpha = np.zeros((len(metadata.alpha), rows, columns), sink.dtype) if metadata.alpha else None
            mask = np.zeros((rows, columns), np.uint8) if masked else None
            sink.write(
                Window(0, rows, 0, columns), Cells(values, np.ones(values.shape, bool), alpha, mask), slice(0, 1)
            )
            sink.finish(threads=1)
    finally:
        for each in (path, _before_cog(path)):
            if rasterio.shutil.exists(str(each)):
                rasterio.shutil.delete(str(each), driver="GTiff")


def _before_cog(path: Path) -> Path:
    """The file that GDAL makes a COG of."""
    return path.with_name(f"{path.stem}-plain.tif")


def _alpha(alpha: Array, dtype: np.dtype[Any]) -> Array:
    """Alpha in the output's type: opaque stays opaque."""
    if alpha.dtype == dtype or alpha.dtype.kind != "u":
        return alpha.astype(dtype, copy=False)
    share = alpha / np.iinfo(alpha.dtype).max
    return np.rint(share * np.iinfo(dtype).max).astype(dtype)


def _without_reserved(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without those that rasterio would take for its own arguments."""
    return {key: value for key, value in tags.items() if key not in ("bidx", "ns")}


def _of_domain(name: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags of a domain; a document is what rasterio reads as one value and would write cut at its first ``=``."""
    if not name.startswith("xml:"):
        return _without_reserved(tags)
    parts = (text.partition("=") for text in tags.values())
    return {key: value for key, sep, value in parts if sep}


def _spell(nodata: float | None) -> str:
    if nodata is None:
        return "none"
    return str(nodata) if isinstance(nodata, int) else repr(float(nodata))


def _same_nodata(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or (math.isnan(a) and math.isnan(b)) or np.float32(a) == np.float32(b)
