"""What a batch run has done, whatever stopped it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from geofsrcnn.batch.journal import Journal, read_journal
from geofsrcnn.errors import OutputError, UsageError

SETTINGS = {"factor": 3, "model": "abc"}


def opened(path, settings=SETTINGS, *, resume=True, overwrite=False) -> Journal:
    return Journal(path, settings, resume=resume, overwrite=overwrite)


@pytest.fixture
def path(tmp_path):
    """A journal with one file done, one failed, one begun."""
    path = tmp_path / "j.jsonl"
    with opened(path) as log:
        for name in ("a", "b", "c"):
            log.write("begun", name, input=f"/in/{name}")
        log.write("done", "a", input="/in/a", bytes=7)
        log.write("failed", "b", input="/in/b", code=3, reason="no grid")
    return path


@pytest.mark.parametrize("content", [b"precious notes", b'{"input": "a.tif"}', b"notes\nand more\n", b"\x89HDF"])
def test_other_files_are_no_journals(tmp_path, content):
    """And stay what they are."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for resume, overwrite in ((False, False), (True, False), (False, True), (True, True)):
        with pytest.raises(OutputError, match=r"this is no journal: .*notes\.txt: name another file"):
            opened(path, resume=resume, overwrite=overwrite)
        with pytest.raises(OutputError, match="this is no journal"):
            read_journal(path, SETTINGS, resume=resume, overwrite=overwrite)
    assert path.read_bytes() == content


def test_what_was_written_is_read(path):
    with opened(path) as log:
        assert log.earlier.begun == {"a", "b", "c"}
        assert log.earlier.last["a"]["bytes"] == 7
        assert log.earlier.last["b"]["state"] == "failed"
        assert "c" not in log.earlier.last


def test_cut_at_every_byte_it_is_as_before_some_line(path):
    """A kill while a line is written loses that line and no other, and the next line is whole."""
    data = path.read_bytes()
    head = data.index(b"\n") + 1
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with opened(path) as log:
            whole = data[:length].count(b"\n")
            assert len(log.earlier.begun) + len(log.earlier.last) == max(0, whole - 1)
            log.write("done", "d", input="/in/d")
        lines = path.read_bytes().splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert path.read_bytes().startswith(data[:head] if length >= head else b'{"journal"')


def test_damage_elsewhere_is_said(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{oops\n", *lines[3:]]))
    with pytest.raises(OutputError, match=r"journal is damaged: .*j\.jsonl, line 3"):
        opened(path)


def test_not_resumed_it_is_in_the_way(path):
    before = path.read_bytes()
    with pytest.raises(OutputError, match="use resume=True to go on, overwrite=True to begin anew"):
        opened(path, resume=False)
    assert path.read_bytes() == before
    with opened(path, resume=False, overwrite=True) as log:
        assert not log.earlier.begun


def test_other_settings_are_refused(path):
    with pytest.raises(UsageError, match=r"had another factor \(3, not 2\)"):
        opened(path, {**SETTINGS, "factor": 2})
    with opened(path, {**SETTINGS, "factor": 2}, overwrite=True) as log:
        assert not log.earlier.last


def test_another_file_is_no_journal(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"journal": 99, "settings": {}}\n')
    with pytest.raises(OutputError, match="no journal of this version"):
        opened(path)


def test_only_one_process_writes(path):
    """The lock is of the process: another is refused, and may write when this one is gone."""
    script = (
        "import sys; from pathlib import Path; from geofsrcnn.batch.journal import Journal\n"
        "Journal(Path(sys.argv[1]), {'factor': 3, 'model': 'abc'}, resume=True, overwrite=False)"
    )
    with opened(path):
        there = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert "another batch run writes here" in there.stderr
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == 0


def test_looking_changes_nothing(path):
    before = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(before[0] + b'{"state": "do')
    os.utime(path, ns=(before[1], before[1]))
    found = read_journal(path, SETTINGS, resume=True, overwrite=False)
    assert set(found.last) == {"a", "b"}
    assert path.read_bytes() == before[0] + b'{"state": "do'
    assert not read_journal(path.with_name("none"), SETTINGS, resume=False, overwrite=False).last


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="cannot write the journal"):
        opened(tmp_path / "none" / "j.jsonl")


def test_a_full_disk_is_an_error_and_loses_one_line(path):
    """In a process that may write 40 bytes more: the error is one of ours, and the journal is well afterwards."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from geofsrcnn.batch.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); path = Path(sys.argv[1]); most = path.stat().st_size + 40\n"
        "log = Journal(path, {'factor': 3, 'model': 'abc'}, resume=True, overwrite=False)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)); log.write('done', 'c', input='x' * 100)"
    )
    there = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    assert "OutputError: cannot write the journal" in there.stderr
    with opened(path) as log:
        assert set(log.earlier.last) == {"a", "b"}
