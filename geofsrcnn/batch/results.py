"""Results of a batch run, and how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from geofsrcnn._types import Facts


@dataclass(frozen=True, slots=True)
class FileResult:
    """One input, with its output or the reason why it has none.

    Parameters
    ----------
    source, output : str
        The input, and the output relative to the folder of outputs.
    state : {"done", "failed", "waiting"}
        Done if the output is there; waiting only where nothing was run.
    before : bool
        It was so before this run.
    code : int
        Exit code that the failure would have as a run of its own; 0 if done.
    reason : str
        Why it failed, in one line.
    warnings : tuple of str
        One line each.
    sha256 : str
        SHA-256 of the output, hexadecimal.
    size, cells : int
        Bytes of the output, and its cells.
    seconds : float
        Time that workers took, all parts together.
    """

    source: str
    output: str
    state: Literal["done", "failed", "waiting"]
    before: bool = False
    code: int = 0
    reason: str = ""
    warnings: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0
    cells: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class BatchResult(Facts):
    """All inputs of a batch run, with their outputs or the reasons why they have none.

    Parameters
    ----------
    files : tuple of FileResult
        In the order of the inputs.
    folder, journal : str
        Folder of the outputs, and file of the journal.
    seconds : float
        From the first task to the last, without the start of a cluster.
    workers : int
        Threads of the cluster at the start; 0 if nothing was left to do.
    """

    files: tuple[FileResult, ...]
    folder: str
    journal: str
    seconds: float
    workers: int

    @property
    def done(self) -> list[FileResult]:
        """With their outputs."""
        return [each for each in self.files if each.state == "done"]

    @property
    def failed(self) -> list[FileResult]:
        """Without."""
        return [each for each in self.files if each.state == "failed"]

    @property
    def done_now(self) -> list[FileResult]:
        """With outputs of this run."""
        return [each for each in self.done if not each.before]

    @property
    def of_before(self) -> int:
        """Inputs that were done, or failed, by earlier runs."""
        return sum(each.before for each in self.files)

    @property
    def size(self) -> int:
        """Bytes of the outputs of this run."""
        return sum(each.size for each in self.done_now)

    @property
    def cells_per_second(self) -> float:
        """Cells of the outputs of this run in a second."""
        return sum(each.cells for each in self.done_now) / max(self.seconds, 1e-9)


@dataclass
class Tally:
    """How far a run is.

    Parameters
    ----------
    total, done, failed : int
        Files of this run.
    cells : int
        Fine cells of the outputs that were finished.
    parts, parts_done : int
        Parts of files that were split and are not finished, and how many of them are there.
    last : FileResult, optional
        The file that ended last.
    begun : float, optional
        When the first task was given, by ``time.monotonic``.
    dashboard : str
        Address of dask's, if it was asked for.
    """

    total: int
    done: int = 0
    failed: int = 0
    cells: int = 0
    parts: int = 0
    parts_done: int = 0
    last: FileResult | None = None
    begun: float | None = None
    dashboard: str = ""

    @property
    def seconds(self) -> float:
        """Since the first task was given."""
        return 0.0 if self.begun is None else time.monotonic() - self.begun
