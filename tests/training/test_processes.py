"""Training on several processes: the same as on one, and a lost one is said."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from geofsrcnn import load_checkpoint
from geofsrcnn.training.processes import Ranks
from tests.support.faults import until
from tests.support.pairfiles import made
from tests.support.rasters import write

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def surface(path: Path) -> Path:
    """A rough surface with a gap."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(160, 160)).cumsum(0).cumsum(1)
    values -= values.mean()
    values[20:24, 30:37] = np.nan
    return write(path, values[None].astype(np.float32), nodata=np.nan) or path


def command(*arguments: object, processes: int = 1) -> list[str]:
    """Of a training, on so many processes that torchrun starts."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(free_port())]
    between = ["--"] if processes > 1 else []  # or torchrun takes --log for one of its own options
    return [*start, "-m", *between, "geofsrcnn", "train", *map(str, arguments)]


def free_port() -> int:
    """A port of this machine that nothing listens on, of those that the system does not hand out meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as held, suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> dict[str, list[object]]:
    """Of both trainers, without the output."""
    folder = tmp_path_factory.mktemp("ranks")
    files = made(folder, lapse=True)
    raster = surface(folder / "surface.tif")
    common = ["--steps", 24, "--batch", 6]
    return {
        "rasters": [raster, "--factor", 3, "--size", "small", "--patch", 12, *common],
        "pairs": [
            *(files["fine"], "--coarse", files["coarse"], "--static", files["height"]),
            *("--factor", 4, "--until", "2000-06-01", *common),
        ],
    }


def weights(path: Path) -> torch.Tensor:
    """All of a checkpoint's."""
    return torch.cat([tensor.reshape(-1) for tensor in load_checkpoint(path).model.state_dict().values()])


@pytest.mark.parametrize("kind", ["rasters", "pairs"])
def test_two_processes_train_as_one(arguments, tmp_path, kind):
    """At equal batch, within float tolerance; masked cells and dropout included; one writes and speaks."""
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.safetensors"
        log = tmp_path / f"{processes}.jsonl"
        line = command(*arguments[kind], "--out", out, "--log", log, processes=processes)
        done = subprocess.run(line, env=ALONE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f"{out}: ") == 1
        assert [json.loads(row)["step"] for row in log.read_text().splitlines()] == [0, 24]
        found.append(weights(out))
    start = (found[0] - found[1]).abs().max() / found[0].abs().max()
    assert start < 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("1.jsonl", "1.safetensors", "2.jsonl", "2.safetensors"),
    ]


def test_a_lost_process_ends_the_others(arguments, tmp_path):
    """SIGKILL of one: the other ends with 8 in one line, its state saved; resumed, it is the undisturbed training."""
    out, log = tmp_path / "m.safetensors", tmp_path / "m.jsonl"
    rest = [*arguments["pairs"], "--steps", 150, "--out", out, "--log", log, "--save-minutes", "0.002"]
    port = str(free_port())
    both = [
        subprocess.Popen(
            command(*rest),
            env={**ALONE, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    states = out.with_suffix(".training")

    def saved() -> bool:
        assert [each.poll() for each in both] == [None, None]
        return states.is_dir() and any(states.iterdir())

    until(saved)
    both[1].send_signal(signal.SIGKILL)
    _, said = both[0].communicate(timeout=300)
    both[1].communicate()
    assert both[0].returncode == 8, said
    assert "another process of the training has ended: the same command with --resume goes on" in said
    assert "Traceback" not in said
    done = subprocess.run(command(*rest, "--resume"), env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole.safetensors"
    subprocess.run(command(*rest, "--out", whole), env=ALONE, check=True, capture_output=True)
    assert (weights(out) - weights(whole)).abs().max() < 0.01 * weights(whole).abs().max()


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--minutes", 1], "--minutes is for one process"), (["--batch", 1], "a batch of 1 cannot be divided among 2")],
)
def test_what_several_processes_cannot_do_is_refused(arguments, tmp_path, options, words):
    """By each of them, before they meet."""
    rest = [each for each in arguments["pairs"] if each not in ("--steps", 24)]
    line = command(*rest, *options, "--out", tmp_path / "m.safetensors")
    there = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = subprocess.run(line, env={**ALONE, **there}, capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr


def test_shares_are_the_whole_batch():
    """Each time once, in order, nearly equal parts."""
    for count in range(1, 9):
        parts = [np.arange(17)[Ranks(index, count).share(17)] for index in range(count)]
        assert np.array_equal(np.concatenate(parts), np.arange(17))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


LEAVES = """
import gc, sys
import torch.distributed as dist
from geofsrcnn.training.processes import joined
with joined("cpu", 2, timed=False):
    group = dist.group.WORLD
    from torch.distributed.nn import functional
gc.collect()
assert sys.getrefcount(group) == 2, sys.getrefcount(group)
"""


def test_the_process_group_ends_with_the_training(tmp_path):
    """Or its thread lives on, and aborts the process at the interpreter's end in most trainings."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    done = subprocess.run([*start, str(script)], env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
