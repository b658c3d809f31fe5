"""Zarr stores in and out: opened as they are stored, written chunk by chunk, read back."""

from __future__ import annotations

import asyncio
import math
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore, ZipStore

from geofsrcnn._types import Array, Write
from geofsrcnn.cf.encoding import missing_of
from geofsrcnn.errors import GeofsrcnnError, InputError, LimitError, OutputError, RemoteError, printable, warn
from geofsrcnn.files.remote import PAUSE, RemoteZarr, refusal
from geofsrcnn.files.staging import no_room
from geofsrcnn.formats.groups import check_variables, choose_group, has_fields, header, with_parents
from geofsrcnn.formats.writer import Checksums, Index, NewField, checksum, writing

LOSSLESS = ("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma")
"""Codecs that an output keeps; others it replaces by Zarr's default."""

MAX_ZIP = 2**36
"""Bytes that a zipped store may declare."""


class RetryingStore(WrapperStore[Any]):
    """A remote store that is only read, and whose reads are tried again; what fails to the end is no missing chunk."""

    def __init__(self, place: RemoteZarr) -> None:
        super().__init__(FsspecStore(place.files, read_only=True, path=place.path))
        self._url = place.url

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """The bytes of a key; None where there is none."""
        found = await self._with_retries(key, prototype or default_buffer_prototype(), byte_range)
        if found is not None and len(found) > _max_bytes(byte_range):
            raise RemoteError(f"{self._url} is on a server that sends no parts of files: download it first")
        return found

    async def _with_retries(self, key: str, prototype: Any, byte_range: Any) -> Any:
        attempt = 0
        while True:
            try:
                return await super().get(key, prototype, byte_range)
            except GeofsrcnnError:
                raise
            except Exception as raised:
                if (error := refusal(raised, f"{self._url}/{printable(key)}", attempt)) is not None:
                    raise error from raised
                await asyncio.sleep(PAUSE * 2**attempt)
                attempt += 1


def _max_bytes(byte_range: Any) -> float:
    """Bytes that a request asks for at most."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else math.inf


@contextmanager
def open_store(place: Path | RemoteZarr, group: str | None = None) -> Iterator[xr.Dataset]:
    """The variables of a folder, a zip or a remote store as they are stored: nothing decoded, nothing read yet.

    Raises
    ------
    InputError
        If it cannot be read.
    LimitError
        If a chunk is too large to be held.
    UsageError
        If there are several groups with arrays, and none or a missing one is named.
    """
    shown = printable(place.name)
    store, remote = _store(place), isinstance(place, RemoteZarr)
    with ExitStack() as held:

        def read(name: str) -> xr.Dataset:
            # consolidated: far away one request instead of many, or none that lists
            options: dict[str, Any] = {"decode_cf": False, "cache": False, "consolidated": None if remote else False}
            return held.enter_context(xr.open_dataset(store, engine="zarr", group=name or None, chunks=None, **options))

        try:
            with _quiet():
                _refuse_array(store, shown)
                group = choose_group(_groups(store, remote=remote), group, shown)
                dataset = with_parents(group, read)
        except GeofsrcnnError:
            raise
        except Exception as error:  # zarr and its codecs raise anything
            raise InputError(f"cannot read {shown} ({_reason(error)}): check it with xarray.open_zarr") from error
        check_variables(dataset, shown)
        yield dataset


def _refuse_array(store: Any, shown: str) -> None:
    if isinstance(zarr.open(store, mode="r"), zarr.Array):
        raise InputError(f"{shown} is one Zarr array without coordinates: give a group, as xarray writes it")


def _store(place: Path | RemoteZarr) -> Any:
    if isinstance(place, RemoteZarr):
        return RetryingStore(place)
    if place.is_file():
        _check_zip(place)
        return ZipStore(place, mode="r")
    return place


def _groups(store: Any, *, remote: bool) -> dict[str, bool]:
    """Groups that have arrays, and whether these may be fields; "" is the root."""
    root: Any = zarr.open_group(store, mode="r", use_consolidated=None if remote else False)
    found: dict[str, dict[str, xr.Variable]] = {}
    for path, member in sorted(root.members(max_depth=None), key=lambda each: str(each[0])):
        group, _, name = path.rpartition("/")
        if isinstance(member, zarr.Array):
            found.setdefault(group, {})[name] = header(member.ndim, member.dtype, member.attrs.asdict())
    return {group: has_fields(arrays) for group, arrays in found.items()}


def _check_zip(path: Path) -> None:
    """Refuse archives whose names leave it, or that declare too much."""
    shown = printable(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"cannot read {shown} ({printable(error)}): a zip of a Zarr group is needed") from error
    if any(part.filename.startswith("/") or ".." in part.filename.split("/") for part in parts):
        raise InputError(f"{shown} holds names that lead out of it: unpack it with care")
    if sum(part.file_size for part in parts) > MAX_ZIP:
        raise LimitError(f"{shown} declares more than {MAX_ZIP // 2**30} GiB: unpack it first")


def _reason(error: BaseException) -> str:
    return printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)[:300]


def warn_of_missing_chunks(path: Path | RemoteZarr, group: str | None, names: Sequence[str]) -> None:
    """Say how many chunks of fields are not there and read as their fill value; of a folder, which can be listed."""
    if isinstance(path, RemoteZarr) or path.is_file():
        return
    with _quiet():
        group = choose_group(_groups(path, remote=False), group, path.name)
        root: Any = zarr.open_group(path, path=group, mode="r", use_consolidated=False)
        for name in names:
            if name not in root:  # of a group around it
                continue
            array = root[name]
            missing = array.nchunks - array.nchunks_initialized
            if missing > 0:
                warn(
                    "W-MISSING-CHUNK",
                    f"{printable(name)} lacks {missing} of {array.nchunks} chunks, which read as its fill value",
                )


def version_of(place: Path | RemoteZarr) -> Literal[2, 3]:
    """Zarr format of a store."""
    with _quiet():
        return 2 if zarr.open_group(_store(place), mode="r").metadata.zarr_format == 2 else 3


class _NewStore(LocalStore):
    """A folder that is written, until it is ended.

    Zarr writes chunks beside each other. After an error of one, or an interrupt, it goes on with the others behind the
    scenes, and would make the folder anew when it has been removed.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._changed = threading.Condition()
        self._under_way, self._ended = 0, False

    async def set(self, key: str, value: Buffer) -> None:
        """Write one key, unless it is too late."""
        with self._changed:
            if self._ended:
                raise asyncio.CancelledError
            self._under_way += 1
        try:
            await super().set(key, value)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Let no more be written, and wait for what is being written."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: self._under_way == 0)


class ZarrWriter:
    """A new store: what is small at once, fields chunk by chunk, then read back and compared.

    Parameters
    ----------
    path : Path
        Not yet existing.
    rest : Dataset
        Everything but the fields, as it is to be stored.
    version : {2, 3}
        Zarr format.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    bands_first = False

    def __init__(self, path: Path, rest: xr.Dataset, version: Literal[2, 3]) -> None:
        self._path, self._version = path, version
        self._attrs = rest.attrs
        self._arrays: dict[str, Any] = {}
        self._sums = Checksums()
        for variable in rest.variables.values():
            missing = missing_of(variable)  # of integers, such as those of a grid mapping, it may be a value
            if missing.marks and variable.dtype.kind == "f" and not missing.valid(variable.to_numpy()).all():
                variable.attrs = _with_fill(variable.attrs, missing.marks, variable.dtype)
            variable.encoding = {k: v for k, v in variable.encoding.items() if k in ("dtype", "_FillValue")}
        self._store = _NewStore(path)
        try:
            with writing(self._path, OSError), _quiet():
                rest.to_zarr(self._store, mode="w-", consolidated=False, zarr_format=version)
        except BaseException:
            self.close()
            raise

    def define(self, fields: Sequence[NewField]) -> None:
        """All fields that are to come, with the compression of the coarse ones."""
        for new in fields:
            self._define(new)

    def _define(self, new: NewField) -> None:
        sizes = tuple(new.sizes.values())
        plan = da.zeros(sizes, chunks=-1, dtype=new.dtype)
        variable = xr.Variable(tuple(new.sizes), plan, _with_fill(new.attrs, new.marks, new.dtype))
        encoding: dict[str, Any] = {"chunks": tuple(min(c, n) for c, n in zip(new.chunks, sizes, strict=True))}
        codecs = new.encoding.get("compressors") or ()
        if codecs and all(_codec(codec) in LOSSLESS for codec in codecs):
            encoding["compressors"] = codecs
        with writing(self._path, OSError), _quiet():
            xr.Dataset({new.name: variable}, attrs=self._attrs).to_zarr(
                self._store,
                mode="a",
                compute=False,
                consolidated=False,
                zarr_format=self._version,
                encoding={new.name: encoding},
            )
            with zarr.config.set({"array.write_empty_chunks": True}):
                root: Any = zarr.open_group(self._store, mode="r+", zarr_format=self._version, use_consolidated=False)
                self._arrays[new.name] = root[new.name]

    def prepare(self, name: str, index: Index, values: Array) -> Write:
        """Whole chunks of a field, as stored; Zarr's own threads compress them."""
        return partial(self._write, name, index, values, checksum(values))

    def _write(self, name: str, index: Index, values: Array, expected: int) -> None:
        with writing(self._path, OSError), _quiet():
            self._arrays[name][index] = values
        self._sums.add(name, index, expected)

    def finish(self, each_part: Callable[[], None], threads: int) -> None:
        """Read back and compare all that was written, then the metadata of all arrays in one place.

        Raises
        ------
        OutputError
            If a part is not what was written: the disk may be full.
        """
        with writing(self._path, OSError), _quiet():
            root: Any = zarr.open_group(self._path, mode="r", use_consolidated=False)
            for name, array in self._arrays.items():
                if root[name].nchunks_initialized != array.nchunks:
                    words = f"chunks of {printable(name)} are missing in the output"
                    raise OutputError(words + no_room(None, self._path))
            self._sums.compare(self._path, lambda name, index: np.asarray(root[name][index]), each_part, threads)
            zarr.consolidate_metadata(self._store, zarr_format=self._version)

    def close(self) -> None:
        """Let nothing be written any more; what is under way is waited for."""
        self._store.end()


def _with_fill(attrs: Mapping[str, Any], marks: Sequence[float], dtype: np.dtype[Any]) -> dict[str, Any]:
    """State what missing cells are stored as where attributes leave it to the NetCDF library, which Zarr does not."""
    unstated = marks and "_FillValue" not in attrs and "missing_value" not in attrs
    return {**attrs, "_FillValue": dtype.type(marks[0])} if unstated else dict(attrs)


def _codec(codec: Any) -> str:
    """The name of a compressor, of zarr's own or numcodecs'."""
    name = getattr(codec, "codec_id", None) or codec.to_dict().get("name", "")
    return str(name).removeprefix("numcodecs.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without zarr's warnings on what lies beside arrays, and on metadata that no standard describes yet."""
    with warnings.catch_warnings():
        for module in ("zarr", "xarray"):
            warnings.filterwarnings("ignore", module=module)
        warnings.filterwarnings("ignore", message="Consolidated metadata|Object at|.*data type.*")
        yield
