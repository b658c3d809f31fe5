"""Outputs that appear whole or not at all.

An output is built in a work folder beside it, verified by the caller, fsynced and then linked or renamed onto
its name. The work folder is locked while its process lives, so a later run can tell a leftover from a run.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from geofsrcnn import system
from geofsrcnn.errors import OutputError, RemoteError, printable
from geofsrcnn.files.kinds import is_zarr
from geofsrcnn.files.locks import lock_file, open_to_lock, remove_dead
from geofsrcnn.files.names import name_problem

T = TypeVar("T")

SUFFIX = ".part"

USABLE = 0.9
"""Share of the free room on a disk that an output, or what is fetched, may take."""

_PAUSES = (0.01, 0.1, 0.5, 1.0)
"""Seconds between tries of what others may hinder for a moment."""

_LONGEST_ON_WINDOWS = 247
"""Characters of a folder's path, where longer ones are not enabled."""

_REPLACED = "replaced"
"""Name in the work folder of what an output replaces."""


@contextmanager
def staged(target: str | os.PathLike[str], *, overwrite: bool = False, folder: bool = False) -> Iterator[Path]:
    """A path to write to, published as `target` if the block ends well, removed if not.

    Parameters
    ----------
    target : str or path
        Final name. If it is a link, the file that it points to is replaced.
    overwrite : bool
        Replace an existing file; without it, one that exists, or appears meanwhile, is an error.
    folder : bool
        The output is a folder, a Zarr store, and may replace one.

    Yields
    ------
    Path
        A name in a new, locked folder on the target's file system; not yet existing.

    Raises
    ------
    OutputError
        If the target exists, is of the wrong kind, or cannot be written.
    """
    with staged_together([target], overwrite=overwrite, folder=folder) as [staging]:
        yield staging


@contextmanager
def staged_together(
    targets: Sequence[str | os.PathLike[str]], *, overwrite: bool = False, folder: bool = False
) -> Iterator[list[Path]]:
    """Paths to write to, published one after the other if the block ends well, all or none; as for `staged`.

    Only a process that is killed between two renames leaves the first targets without the last.

    Raises
    ------
    OutputError
        If a target exists, is of the wrong kind, or cannot be written.
    """
    finals = [Path(os.path.realpath(target)) for target in targets]
    for final in finals:
        check_target(final, overwrite=overwrite, folder=folder)
    with ExitStack() as works:
        stagings = [works.enter_context(_work_of(final)) / ("output" + final.suffix) for final in finals]
        try:
            yield stagings
            _publish(stagings, finals, overwrite=overwrite)
        except OSError as error:
            if isinstance(error, OutputError | RemoteError):
                raise
            shown = printable(", ".join(map(str, finals)))
            words = f"cannot write {shown} ({error.strerror or printable(error)})"
            raise OutputError(words + (no_room(error, finals[-1]) or _in_use(error))) from error


@contextmanager
def _work_of(final: Path) -> Iterator[Path]:
    """A work folder for a target, removed in the end, and those of dead processes now."""
    _remove_leftovers(final)
    work, lock = _work_folder(final)
    try:
        yield work
    finally:
        os.close(lock)  # first: Windows removes nothing that is open; and two who remove it do no harm
        try:
            _remove(work)
        except OSError as error:
            raise OutputError(f"cannot remove {printable(work)} ({error.strerror}): remove it by hand") from error


def _remove(work: Path) -> None:
    """Remove a work folder, into which threads of a failed writer (Zarr's) may still be writing for a moment."""

    def remove() -> None:
        if work.exists():
            shutil.rmtree(work)

    _try_for_a_moment(remove, lambda _: True)


def _try_for_a_moment(action: Callable[[], T], passes: Callable[[OSError], object]) -> T:
    """Return the result of an action, tried again while its errors are such as pass."""
    for pause in _PAUSES:
        try:
            return action()
        except OSError as error:
            if not passes(error):
                raise
        time.sleep(pause)
    return action()


def _in_use(error: OSError) -> str:
    """Return what to ask where Windows refuses to touch a file that is open (error 32, or 5); nothing elsewhere."""
    return ": is it open in another program?" if getattr(error, "winerror", None) in (5, 32, 33) else ""


def check_target(target: Path, *, overwrite: bool, folder: bool = False) -> None:
    """Refuse a target that cannot become the output, before any work is done.

    Raises
    ------
    OutputError
        If it exists without `overwrite`, is a folder (of anything but Zarr, where the output is one), or its folder
        is missing or not writable.
    """
    shown = printable(target)
    if words := name_problem(target.name):
        raise OutputError(f"{words}: {printable(target.name)[:80]}: give another name")
    try:
        if target.is_dir() and not (folder and is_zarr(target)):
            what = "output is a folder that holds no Zarr" if folder else "output is a folder"
            raise OutputError(f"{what}: {shown}: give {'another' if folder else 'a file'} name")
        if target.exists() and not folder and not target.is_file():
            raise OutputError(f"output is a device or pipe, not a file: {shown}: give a file name")
        if target.exists() and folder and not target.is_dir():
            raise OutputError(f"output is a file, not a folder: {shown}: give another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"output exists: {shown}: use overwrite=True")
        if not target.parent.is_dir():
            raise OutputError(f"output folder is missing: {printable(target.parent)}: make it first")
    except PermissionError:
        raise OutputError(f"cannot look into {printable(target.parent)}: check its permissions") from None
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"output folder is not writable: {printable(target.parent)}: check its permissions")


def free_bytes(target: Path) -> int:
    """Bytes free on the target's file system."""
    return shutil.disk_usage(target.parent).free


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of errors that say that there is no room."""

_LITTLE = 2**22  # bytes; who failed for want of room leaves no more


def no_room(error: BaseException | None, place: Path) -> str:
    """Return what to ask where writing failed for want of room (``: is the disk full?``); nothing if there is room.

    Libraries often keep the number of the error to themselves: then it is looked whether there is room.

    Parameters
    ----------
    error : BaseException, optional
        What was raised.
    place : Path
        The file that was written, or a folder.
    """
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    numbers = {each.errno for each in causes if isinstance(each, OSError)}
    text = " ".join(str(each) for each in causes)
    try:
        full = free_bytes(place) < _LITTLE
    except OSError:
        full = False
    if full or numbers & set(FULL) or os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
        return ": is the disk full?"
    too_large = errno.EFBIG in numbers or os.strerror(errno.EFBIG) in text
    if too_large or system.limits_file_size():
        return ": is the file larger than is allowed (ulimit -f)?"
    return ""


def work_prefix(final: Path) -> str:
    """Begin the names of hidden folders that belong to an output, short enough for what follows."""
    return "." + os.fsdecode(os.fsencode(final.name)[:200]) + "."


def _work_folder(final: Path) -> tuple[Path, int]:
    """A new locked folder beside the target."""
    while True:
        work = final.parent / f"{work_prefix(final)}{secrets.token_hex(4)}{SUFFIX}"
        try:
            work.mkdir(mode=0o777)
        except FileExistsError:
            continue
        except OSError as error:
            words = f"cannot write into {printable(final.parent)} ({error.strerror})"
            raise OutputError(words + _too_long(error, work)) from error
        try:
            lock = open_to_lock(work)
        except FileNotFoundError:  # taken for a leftover between the two calls
            continue
        except OSError as error:
            raise OutputError(f"cannot write into {printable(final.parent)} ({error.strerror})") from error
        try:
            lock_file(lock)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:  # a file system without locks: leftovers there are never removed
            return work, lock
        if work.exists():
            return work, lock
        os.close(lock)


def _too_long(error: OSError, work: Path) -> str:
    """Return what to do where Windows does not find a folder whose path is too long for it; nothing elsewhere."""
    if not (system.WINDOWS and isinstance(error, FileNotFoundError) and len(os.fspath(work)) > _LONGEST_ON_WINDOWS):
        return ""
    return f": its path has more than {_LONGEST_ON_WINDOWS} characters: write to a folder nearer to the root"


def _remove_leftovers(final: Path) -> None:
    """Remove the work folders of dead processes for the same output."""
    prefix = work_prefix(final)

    def bring_back(work: Path) -> None:
        """Bring back what was to be replaced, if the process died between taking it away and putting the new there."""
        old, new = work / _REPLACED, (work / "output").with_suffix(final.suffix)
        if new.exists() and old.exists() and not final.exists():
            old.rename(final)

    for name in os.listdir(final.parent):  # noqa: PTH208  folders of outputs are long: a tenth of the time
        middle = name.removeprefix(prefix).removesuffix(SUFFIX)
        if name.startswith(prefix) and name.endswith(SUFFIX) and len(middle) == 8:
            remove_dead(final.parent / name, bring_back)


def _publish(stagings: Sequence[Path], finals: Sequence[Path], *, overwrite: bool) -> None:
    """Put finished files or folders onto their names and make all durable; on an error none stays."""
    for staging in stagings:
        _sync_all(staging)
    with ExitStack() as undo:
        for staging, final in zip(stagings, finals, strict=True):
            take_back = None if final is finals[-1] else _taking_back(staging, final)
            publish = _publish_folder if staging.is_dir() else _publish_file
            publish(staging, final, overwrite=overwrite)
            if take_back is not None:
                undo.callback(take_back)
        undo.pop_all()
    for parent in dict.fromkeys(final.parent for final in finals):
        system.sync_folder(parent)


def _taking_back(staging: Path, final: Path) -> Callable[[], None]:
    """Return what undoes the publication of a file that is about to come, and brings back the one that it replaces."""
    if not final.exists():
        return lambda: final.unlink(missing_ok=True)
    old = staging.with_name(_REPLACED)
    try:
        os.link(final, old)
    except OSError:  # a file system without hard links: better the new one than none
        return lambda: None

    def bring_back() -> None:
        old.replace(final)

    return bring_back


@contextmanager
def syncing(staging: Path) -> Iterator[None]:
    """Make a finished file's content durable while it is read back: who publishes it waits for little then.

    Raises
    ------
    OSError
        If that fails; an error of the disk is told to who asks first, and not again.
    """
    with ThreadPoolExecutor(1, "geofsrcnn-sync") as pool:
        synced = pool.submit(system.sync_file, staging)
        yield
        synced.result()


def _sync_all(staging: Path) -> None:
    """Make a finished file's or folder's content durable."""
    if not staging.is_dir():
        system.sync_file(staging)
        return
    for folder, _, names in os.walk(staging, topdown=False):
        for name in names:
            system.sync_file(Path(folder) / name)
        system.sync_folder(Path(folder))


def _publish_file(staging: Path, final: Path, *, overwrite: bool) -> None:
    if overwrite:
        with suppress(FileNotFoundError):
            staging.chmod(final.stat().st_mode & 0o7777)
        _try_for_a_moment(lambda: staging.replace(final), _in_use)
        return
    try:
        os.link(staging, final)
    except FileExistsError:
        raise _appeared(final) from None
    except OSError:
        _rename_new(staging, final)


def _publish_folder(staging: Path, final: Path, *, overwrite: bool) -> None:
    """One rename onto a free name; an old folder changes places with the new one and goes with the work folder."""
    if overwrite and final.exists():
        _replace_folder(staging, final)
        return
    try:
        if not _try_for_a_moment(lambda: system.rename_exclusively(staging, final), _in_use):
            _rename_new(staging, final)
    except FileExistsError:
        if not overwrite:
            raise _appeared(final) from None
        _replace_folder(staging, final)  # another run made it just now


def _replace_folder(staging: Path, final: Path) -> None:
    """Put a folder into another's place, in one step where the system can; else in two, between which there is none.

    A run that is killed between them leaves the old one in its work folder, from where the next brings it back.
    """
    if system.exchange(staging, final):
        return
    old = staging.with_name(_REPLACED)
    _try_for_a_moment(lambda: final.rename(old), _in_use)
    try:
        _try_for_a_moment(lambda: staging.rename(final), _in_use)
    except BaseException:
        old.rename(final)
        raise


def _rename_new(staging: Path, final: Path) -> None:
    """Where there are no hard links or flags: take the name exclusively, then rename onto it."""
    try:
        if staging.is_dir():
            final.mkdir()
        else:
            os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise _appeared(final) from None
    try:
        staging.replace(final)
    except BaseException:
        if staging.is_dir():
            with suppress(OSError):
                final.rmdir()
        else:
            final.unlink(missing_ok=True)
        raise


def _appeared(final: Path) -> OutputError:
    return OutputError(f"output exists: {printable(final)}: another run made it; use overwrite=True")
