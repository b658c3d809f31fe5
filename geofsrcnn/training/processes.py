"""Training on several processes, one a GPU or a part of a CPU, that torchrun has started.

Each takes its part of every batch; gradients are added up, so that the result is that of one process but for rounding.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from geofsrcnn.errors import TrainError, UsageError


class LostRank(TrainError):  # noqa: N818  a kind of TrainError
    """Another process of the training has ended."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training.

    Parameters
    ----------
    index, count : int
        Which one this is, and how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True if this one writes files and reports."""
        return self.index == 0

    def shard(self, size: int) -> slice:
        """The part of a batch that this process takes.

        Examples
        --------
        >>> [Ranks(index, 3).shard(8) for index in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(self.index * size // self.count, (self.index + 1) * size // self.count)

    def all_reduce_sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count == 1:
            return value
        result = value.detach().clone()
        with _name_lost_process():
            dist.all_reduce(result)
        return result

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Each gradient becomes the sum over all processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        with _name_lost_process():
            dist.all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def broadcast(self, value: float) -> float:
        """The first process's value."""
        if self.count == 1:
            return value
        held = torch.tensor(value if self.first else 0.0, dtype=torch.float64)
        return float(self.all_reduce_sum(held.to(_device())))


SINGLE_PROCESS = Ranks()


def is_first() -> bool:
    """Tell whether this process writes files and reports, before or without `join_processes`."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_processes(device: str, batch: int, *, timed: bool) -> Iterator[Ranks]:
    """The place of this process among those that torchrun has started; alone where it has not.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``, which then means a GPU of its own for each process.
    batch : int
        Patches or times in a step.
    timed : bool
        Whether the schedule ends by the clock.

    Raises
    ------
    UsageError
        If the batch is smaller than the number of processes, or their clocks would decide.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if dist.is_initialized():  # for several trainings: joined once, as processes cannot join again
        yield Ranks(dist.get_rank(), count)
        return
    if count == 1 or "MASTER_ADDR" not in os.environ:
        yield SINGLE_PROCESS
        return
    if batch < count:
        raise UsageError(f"a batch of {batch} cannot be divided among {count} processes: take a larger batch size")
    if timed:
        raise UsageError("minutes= is for one process: several need steps=, which are the same for all")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Imported before there is a group: its functions would hold that as a default argument for good, so that its
    # thread lives on when the interpreter ends, where it aborts the process now and then (torch 2.13).
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


@contextmanager
def _name_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostRank(
            "another process of the training has ended: the same training with resume=True goes on"
        ) from error


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
