"""Fixtures that several packages of tests share, and Hypothesis' profile."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run beside each other, and would fight for cores

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Card, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.networks.expected_error import section_of
from tests.support.networks import TINY, random_head, random_model
from tests.support.places import SHARED

settings.register_profile(
    "geofsrcnn", deadline=None, max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("geofsrcnn")


@pytest.fixture(scope="session")
def random_network(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkpoint]:
    """``random_network(factor, **config)``: a saved and loaded checkpoint, tiny unless sizes are given.

    With ``errors=True`` it has a head of expected errors.
    """
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Checkpoint] = {}

    def make(factor: int = 3, seed: int = 0, *, errors: bool = False, **config: object) -> Checkpoint:
        full = {**TINY, **config, "factor": factor}
        key = f"{seed}-{errors}-{sorted(full.items())}"
        if key not in made:
            path = folder / f"{len(made)}.safetensors"
            model = random_model(seed, **full)
            sections = {EXPECTED_ERROR: section_of(random_head(model.config, seed), {})} if errors else {}
            save_checkpoint(path, model, Card(name="random"), sections=sections)
            made[key] = load_checkpoint(path)
        return made[key]

    return make


@pytest.fixture(scope="session")
def with_errors(random_network: Callable[..., Checkpoint]) -> Checkpoint:
    """A tiny checkpoint for factor 3 that gives expected errors."""
    return random_network(3, errors=True)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One torch thread: what is this small gains nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data beside the project."""
    if not SHARED.is_dir():
        pytest.skip("no data beside the project")
    return SHARED


@pytest.fixture(scope="session")
def forked_workers() -> None:
    """Workers of clusters that begin in this process import nothing themselves."""
    pytest.importorskip("distributed")
    from tests.support.clusters import forked

    forked()


@pytest.fixture(scope="session")
def cluster(forked_workers: None) -> Iterator[str]:
    """The address of a scheduler with two workers, for all tests that harm neither."""
    from tests.support.clusters import local

    with local() as made:
        yield made.scheduler_address


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a moto server."""
    found = shutil.which("moto_server", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("moto is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([found, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def bucket(moto: str) -> Iterator[None]:
    """A bucket `data`, found through the environment, also by workers that begin here."""
    import dask
    import s3fs

    settings = {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch, dask.config.set({"distributed.nanny.environ": settings}):
        for key, value in settings.items():
            patch.setenv(key, value)
        files = s3fs.S3FileSystem()
        if not files.exists("data"):
            files.mkdir("data")
        yield
