"""Fixtures and Hypothesis' profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from geofsrcnn.networks.checkpoint import Card, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.networks.fsrcnn import FSRCNN, FSRCNNConfig

settings.register_profile(
    "geofsrcnn", deadline=None, max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("geofsrcnn")

TINY = {"d": 8, "s": 4, "m": 1}


def random_model(seed: int = 0, **config: object) -> FSRCNN:
    """A network whose residual is as large as the field's own variation, every weight drawn."""
    torch.manual_seed(seed)
    model = FSRCNN(FSRCNNConfig(**config))
    with torch.no_grad():
        if model.config.skip != "none":
            model.deconvolution.weight *= 100
        for name, weight in model.named_parameters():
            if "prelu" in name:
                weight.uniform_(0.05, 0.6)
            elif name.endswith("bias"):
                weight.normal_(0, 0.2)
            elif name == "skip":
                weight.add_(0.02 * torch.randn_like(weight))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def random_network(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkpoint]:
    """``random_network(factor, **config)``: a saved and loaded checkpoint, tiny unless sizes are given."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Checkpoint] = {}

    def make(factor: int = 3, seed: int = 0, **config: object) -> Checkpoint:
        full = {**TINY, **config, "factor": factor}
        key = f"{seed}-{sorted(full.items())}"
        if key not in made:
            path = folder / f"{len(made)}.safetensors"
            save_checkpoint(path, random_model(seed, **full), Card(name="random"))
            made[key] = load_checkpoint(path)
        return made[key]

    return make


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
    path = Path(__file__).parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("no data beside the project")
    return path
