"""Options of a batch run, each once, with its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from geofsrcnn.errors import UsageError
from geofsrcnn.options import FileOptions, UpscaleOptions

if TYPE_CHECKING:
    from geofsrcnn._types import StrPath

PATTERN = "{stem}_x{factor}{suffix}"
"""Names of the outputs."""

SPLIT = 2048**2
"""Coarse cells, of all bands and times, of a part."""

RETRIES = 2
"""Times that a file is tried again whose worker of a local cluster died."""

LEAST = {"workers": 1, "retries": 0, "split": 0}
"""Smallest values of options that are whole numbers."""


class BatchKeywords(FileOptions, total=False):
    """Keyword arguments of batch runs: those of `BatchOptions`, and of files."""

    pattern: str
    address: str
    scheduler_file: StrPath | None
    workers: int | None
    resume: bool
    overwrite: bool
    retries: int | None
    retry_failed: bool
    split: int
    journal: StrPath | None
    report: StrPath | None
    scheduler_timeout: float
    strict: bool
    dashboard: bool
    allow_remote: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch run goes about its files; checked when it is made.

    Parameters
    ----------
    pattern : str
        Names of the outputs, of ``{stem}``, ``{factor}`` and ``{suffix}``.
    address : str
        ``"local"``: processes of one thread each on this machine; or the address of a dask scheduler whose workers
        see the same paths.
    scheduler_file : str or path, optional
        File of a dask scheduler, instead of its address.
    workers : int, optional
        Processes of the local cluster; one for each core, or GPU, by default.
    resume : bool
        Go on from the journal of an earlier run, if there is one. Files that are done, or whose input cannot be
        used, are not looked at again, unless the input has changed since.
    overwrite : bool
        Replace outputs that no run in the journal made, and a journal that is not resumed.
    retries : int, optional
        How often a file is tried again whose worker died, on the local cluster; 2 by default. Other schedulers have
        their own (dask's ``distributed.scheduler.allowed-failures``).
    retry_failed : bool
        With `resume`, try again what failed before, also where only the input could be the reason.
    split : int
        Coarse cells of a part, of all bands and times; inputs with more than twice as many are shared among workers.
        0: none is.
    journal : str or path, optional
        The journal's file, instead of one in the folder of outputs; needed where that is a URL.
    report : str or path, optional
        Page to write about the run (``.html``), with throughput, failures and thumbnails.
    scheduler_timeout : float
        Seconds to wait for the scheduler, and for workers when there are none.
    strict : bool
        Files with warnings fail.
    dashboard : bool
        Start dask's dashboard, on this machine only.
    allow_remote : sequence of str
        Hosts and buckets that may be read from and written to.

    Raises
    ------
    UsageError
        If a value makes no sense, or is for another cluster than the one asked for.
    """

    pattern: str = PATTERN
    address: str = "local"
    scheduler_file: StrPath | None = None
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False
    retries: int | None = None
    retry_failed: bool = False
    split: int = SPLIT
    journal: StrPath | None = None
    report: StrPath | None = None
    scheduler_timeout: float = 60.0
    strict: bool = False
    dashboard: bool = False
    allow_remote: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_remote", tuple(self.allow_remote))
        if self.scheduler_file is not None and self.address != "local":
            raise UsageError("address= and scheduler_file= exclude each other: give one")
        local = {"workers": self.workers is not None, "retries": self.retries is not None, "dashboard": self.dashboard}
        if not self.is_local and any(local.values()):
            given = next(name for name, there in local.items() if there)
            raise UsageError(f"{given}= is for the local cluster: that of a scheduler has its own")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value != int(value) or value < least):
                raise UsageError(f"{name}= must be a whole number of at least {least}, got {value!r}")
        if not self.scheduler_timeout > 0:
            raise UsageError(f"scheduler_timeout= must be a positive number of seconds, got {self.scheduler_timeout!r}")

    @property
    def is_local(self) -> bool:
        """True if the run has a cluster of its own, on this machine."""
        return self.address == "local" and self.scheduler_file is None


def split_keywords(keywords: Mapping[str, Any]) -> tuple[BatchOptions, UpscaleOptions]:
    """Sort the keyword arguments of a batch run into its own and those of its files.

    Raises
    ------
    UsageError
        If there is no such option, or a value makes no sense.
    """
    own = {each.name for each in fields(BatchOptions)}
    files = {each.name for each in fields(UpscaleOptions)} - {"threads", "error_file", "like", "resolution"}
    if "threads" in keywords:
        raise UsageError("unknown arguments threads: a task of a batch has one")
    if "error_file" in keywords:
        raise UsageError("unknown arguments error_file: many files have their errors as bands, with error=True")
    if grid := sorted({"like", "resolution"} & set(keywords)):
        raise UsageError(f"unknown arguments {grid[0]}: a batch takes a factor, one file at a time may be given a grid")
    if unknown := sorted(set(keywords) - own - files):
        raise UsageError(f"unknown arguments {', '.join(unknown)}: there are {', '.join(sorted(own | files))}")
    batch = BatchOptions(**{name: value for name, value in keywords.items() if name in own})
    options = UpscaleOptions(**{name: value for name, value in keywords.items() if name not in own})
    return batch, options
