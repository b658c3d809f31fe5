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
from tests.support import processes
from tests.support.faults import STEPS, Gate, until
from tests.support.pairfiles import made
from tests.support.rasters import write

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
THREAD = "import torch; torch.set_num_threads(1)\n"


def surface(path: Path) -> Path:
    """A rough surface with a gap."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(160, 160)).cumsum(0).cumsum(1)
    values -= values.mean()
    values[20:24, 30:37] = np.nan
    return write(path, values[None].astype(np.float32), nodata=np.nan) or path


def torchrun(*arguments: object) -> list[str]:
    """A training of two processes."""
    port = str(free_port())
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    return [*start, "-m", "--", "geofsrcnn", *map(str, arguments)]


def free_port() -> int:
    """A port of this machine that nothing listens on, of those that the system does not hand out meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as held, suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> dict[str, list[object]]:
    """The commands of both trainings, without the output."""
    folder = tmp_path_factory.mktemp("ranks")
    files = made(folder, lapse=True)
    raster = surface(folder / "surface.tif")
    common = ["--steps", 24, "--batch-size", 6]
    return {
        "rasters": ["train", raster, "--factor", 3, "--size", "small", "--patch", 12, *common],
        "pairs": [
            *("train-pairs", files["fine"], "--coarse", files["coarse"], "--static", files["height"]),
            *("--factor", 4, "--until", "2000-06-01", *common),
        ],
    }


def weights(path: Path) -> torch.Tensor:
    """All of a checkpoint's."""
    return torch.cat([tensor.reshape(-1) for tensor in load_checkpoint(path).model.state_dict().values()])


def ranks(*line: object, count: int = 2) -> list[processes.Run]:
    """The processes of one training, as torchrun starts them."""
    there = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        processes.start(*line, env={"RANK": str(rank), **there} if count > 1 else {}, prelude=THREAD)
        for rank in range(count)
    ]


def check_two(found: list[torch.Tensor], folder: Path) -> None:
    """Whether two trainings are nearly one, and wrote what they should."""
    for number in (1, 2):
        log = (folder / f"{number}.jsonl").read_text()
        assert [json.loads(row)["step"] for row in log.splitlines()] == [0, 24]
    assert (found[0] - found[1]).abs().max() / found[0].abs().max() < 1e-4
    assert sorted(path.name for path in folder.iterdir()) == [
        *("1.jsonl", "1.safetensors", "2.jsonl", "2.safetensors"),
    ]


@pytest.mark.parametrize("kind", ["rasters", "pairs"])
def test_two_processes_train_as_one(arguments, tmp_path, kind):
    """At equal batch, within float tolerance; masked cells and dropout included; one writes and speaks."""
    found = []
    for count in (1, 2):
        out = tmp_path / f"{count}.safetensors"
        runs = ranks(*arguments[kind], "--out", out, "--log", tmp_path / f"{count}.jsonl", count=count)
        done = [run.wait() for run in runs]
        assert [each.code for each in done] == [0] * count, done
        assert "".join(each.out for each in done).count(f"{out}: ") == 1
        found.append(weights(out))
    check_two(found, tmp_path)


def test_torchrun_starts_them(arguments, tmp_path):
    """The command as a user gives it: the same as one process."""
    out = {number: tmp_path / f"{number}.safetensors" for number in (1, 2)}
    line = [*arguments["rasters"], "--out", out[2], "--log", tmp_path / "2.jsonl"]
    done = subprocess.run(torchrun(*line), env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{out[2]}: ") == 1
    (one,) = ranks(*arguments["rasters"], "--out", out[1], "--log", tmp_path / "1.jsonl", count=1)
    assert one.wait().code == 0
    check_two([weights(out[1]), weights(out[2])], tmp_path)


def test_a_lost_process_ends_the_others(arguments, tmp_path):
    """SIGKILL of one: the other ends with 8 in one line, its state saved; resumed, it is the undisturbed training."""
    out, log = tmp_path / "m.safetensors", tmp_path / "m.jsonl"
    rest = [*arguments["pairs"], "--steps", 60, "--out", out, "--log", log, "--save-minutes", "1e-9"]
    gate = Gate(tmp_path / "gate", at=8, places=STEPS)
    there = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        processes.start(*rest, env={"RANK": rank, **there}, prelude=THREAD + (gate.prelude if more else ""))
        for rank, more in (("0", False), ("1", True))
    ]
    gate.reached(both[1])
    until(lambda: any(out.with_suffix(".training").iterdir()), both[0])
    both[1].send(signal.SIGKILL)
    assert both[1].wait().code == -signal.SIGKILL
    done = both[0].wait()
    assert done.code == 8, done
    assert "another process of the training has ended: the same training with --resume goes on" in done.err
    assert "Traceback" not in done.err
    again = processes.run(*rest, "--resume", prelude=THREAD)
    assert again.code == 0, again
    whole = tmp_path / "whole.safetensors"
    assert processes.run(*rest, "--out", whole, prelude=THREAD).code == 0
    assert (weights(out) - weights(whole)).abs().max() < 0.01 * weights(whole).abs().max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--minutes", 1], "--minutes is for one process"),
        (["--batch-size", 1], "a batch of 1 cannot be divided among 2"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(arguments, tmp_path, options, words):
    """By each of them, before they meet."""
    rest = [each for each in arguments["pairs"] if each not in ("--steps", 24)]
    there = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    line = (*rest, *options, "--out", tmp_path / "m.safetensors")
    assert words in processes.run(*line, env=there, prelude=THREAD).refused(2)


def test_shares_are_the_whole_batch():
    """Each time once, in order, nearly equal parts."""
    for count in range(1, 9):
        parts = [np.arange(17)[Ranks(index, count).shard(17)] for index in range(count)]
        assert np.array_equal(np.concatenate(parts), np.arange(17))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


LEAVES = """
import gc, sys
import torch.distributed as dist
from geofsrcnn.training.processes import join_processes
with join_processes("cpu", 2, timed=False):
    group = dist.group.WORLD
    from torch.distributed.nn import functional
gc.collect()
assert sys.getrefcount(group) == 2, sys.getrefcount(group)
"""


def test_the_process_group_ends_with_the_training():
    """Or its thread lives on, and aborts the process at the interpreter's end in most trainings."""
    there = {**ALONE, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [  # not forked: what holds the group has been imported there before it
        subprocess.Popen([sys.executable, "-c", LEAVES], env={**there, "RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    said = [each.communicate()[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
