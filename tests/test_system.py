"""What stands in for calls that a system lacks does what they do."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from geofsrcnn import machine, system

linux = pytest.mark.skipif(sys.platform != "linux", reason="compared with what Linux says")


@linux
def test_room_is_taken_without_a_call_for_it(tmp_path, monkeypatch):
    """A file gets its size by being written, in blocks that need not divide it."""
    monkeypatch.delattr(os, "posix_fallocate")
    size = 2**24 + 5
    with (tmp_path / "x").open("w+b") as file:
        system.allocate_on_disk(file, size)
        assert os.fstat(file.fileno()).st_size == size
        assert os.fstat(file.fileno()).st_blocks * 512 >= size


@linux
def test_a_disk_without_room(monkeypatch):
    """It is said at once, not when what is mapped is written to."""
    monkeypatch.delattr(os, "posix_fallocate")
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        system.allocate_on_disk(file, 2**20)


@pytest.mark.parametrize(("number", "matters"), [(errno.EINVAL, False), (errno.EACCES, False), (errno.EIO, True)])
def test_folders_that_cannot_be_synced(tmp_path, monkeypatch, number, matters):
    """Some systems and network drives have no such thing, which is no error; that a disk fails is one."""

    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=os.strerror(number)):
        system.sync_file(tmp_path / "file")
    if matters:
        with pytest.raises(OSError, match=os.strerror(number)):
            system.sync_folder(tmp_path)
    else:
        system.sync_folder(tmp_path)


@linux
def test_cores_are_those_of_the_process():
    """As many as the scheduler lets it have, not as many as there are."""
    before = os.sched_getaffinity(0)
    assert machine.count_cores() == len(before)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_memory_where_no_peak_is_kept(monkeypatch):
    """Then it is what the process holds now, and no more than the peak."""
    peak = machine.peak_memory()
    monkeypatch.setattr(machine, "peak_resident", lambda: None)
    assert 2**20 < machine.peak_memory() <= max(peak, 2**20) * 1.01


def test_a_name_is_taken_once(tmp_path, monkeypatch):
    """Windows renames nothing onto what exists; elsewhere a flag says so, where there is one."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with pytest.raises(FileExistsError):
        system.rename_exclusively(old, new)
    monkeypatch.setattr(system, "c_function", lambda _: None)
    monkeypatch.setattr(system, "WINDOWS", False)
    assert not system.rename_exclusively(old, new)
    assert not system.exchange(old, new)
    new.rmdir()
    monkeypatch.setattr(system, "WINDOWS", True)
    assert system.rename_exclusively(old, new)
    assert new.is_dir()
    assert not old.exists()
