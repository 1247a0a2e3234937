"""The processes that train together: one alone, or as many as torchrun starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from util.ranks import World, connect, read_world


@dataclass(frozen=True)
class Team(World):
    """This process among those that train. Decisions travel over ``control``, which never waits for a GPU."""

    control: Any = None

    def share(self, count: int) -> slice:
        """This rank's part of ``count`` items. Raises ValueError when they cannot be shared equally."""
        if count % self.size:
            raise ValueError(f"a batch of {count} cannot be shared equally among {self.size} processes")
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process."""
        return self._reduced(float(flag), dist.ReduceOp.MAX) > 0

    def mean(self, value: float) -> float:
        """The mean of every process's ``value``."""
        return self._reduced(value, dist.ReduceOp.SUM) / self.size

    def agree(self, value: int) -> bool:
        """Whether ``value`` is the same in all processes."""
        lowest = -self._reduced(-float(value), dist.ReduceOp.MAX)
        return lowest == self._reduced(float(value), dist.ReduceOp.MAX)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.control)

    def _reduced(self, value: float, how: Any) -> float:
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor, op=how, group=self.control)
        return tensor.item()


@contextlib.contextmanager
def join_team(device_name: str) -> Iterator[tuple[Team, torch.device]]:
    """This process's team and device, from the variables that torchrun sets; without them, alone.

    Raises ValueError as :meth:`~util.ranks.World.device` and :func:`~util.ranks.connect` do.
    """
    world = read_world()
    device = world.device(device_name, None)
    connect(world, "nccl" if device.type == "cuda" else "gloo")
    control = dist.new_group(backend="gloo") if world.size > 1 else None
    yield Team(world.rank, world.size, world.local_rank, world.local_size, control), device
    # after an error the others may wait in a collective for ever: then this process just ends, and they with it
    world.close()
