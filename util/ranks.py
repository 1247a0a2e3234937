"""The processes of one run: one alone, or as many as ``torchrun`` starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from util.device import choose_device

T = TypeVar("T")

_PATIENCE = timedelta(days=7)  # shares end at different times


class LostProcess(OSError):
    """Another process of the run is gone."""


class FailedElsewhere(ValueError):
    """One of the processes cannot go on, so none does; the message is that of the first."""


@dataclass(frozen=True)
class World:
    """This process among those of the run; alone it is rank 0 of 1."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes in order of rank, on every one. Raises LostProcess when one has died."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(values, value)
        except RuntimeError as error:
            raise LostProcess(f"another process of this run has died ({error})") from error
        return values

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        """All wait for each other at the end of the body, and learn of a ValueError or OSError that one met.

        Then FailedElsewhere is raised in all of them. Alone, errors go their way.
        """
        if self.size == 1:
            yield
            return
        problem = None
        try:
            yield
        except FailedElsewhere:  # of a stage inside this one: the others have it as well
            raise
        except (ValueError, OSError) as error:
            problem = error
        problems = [text for text in self.gather(str(problem) if problem else "") if text]
        if problems:
            raise FailedElsewhere(problems[0]) from problem

    def device(self, name: str, gpu: int | None) -> torch.device:
        """The device of ``--device`` and ``--gpu``; among several processes, the CUDA device of the local rank.

        Raises ValueError when it does not exist, or when one device is asked for by number for all.
        """
        if self.size == 1:
            return choose_device(name, gpu)
        if gpu is not None or name.startswith("cuda:"):
            raise ValueError(
                "under torchrun every process has its own device: leave --gpu away; --device is auto, cuda or cpu"
            )
        device = choose_device(name, None)
        if device.type == "cuda":
            if self.local_rank >= torch.cuda.device_count():
                raise ValueError(
                    f"{self.local_size} processes on this machine, but {torch.cuda.device_count()} CUDA devices: "
                    "give --nproc-per-node as many as there are, or --device cpu"
                )
            torch.cuda.set_device(self.local_rank)  # images must not tell which one made them
        elif not _user_chose_threads():
            torch.set_num_threads(max(1, _cores() // self.local_size))
        return device

    def close(self) -> None:
        """Leave the run."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def read_world() -> World:
    """The place of this process, from the variables that torchrun sets; without them, alone.

    Raises ValueError when they make no sense.
    """
    if (
        os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ
    ):  # other programs set one of them too
        return World()
    try:
        rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
        local, near = (
            int(os.environ.get("LOCAL_RANK", "0")),
            int(os.environ.get("LOCAL_WORLD_SIZE", str(size))),
        )
    except ValueError as error:
        raise ValueError(
            f"the variables of torchrun are no numbers ({error}): start with torchrun"
        ) from error
    if not (0 <= rank < size and 0 <= local < near <= size):
        raise ValueError(
            f"RANK {rank} of WORLD_SIZE {size}, LOCAL_RANK {local} of LOCAL_WORLD_SIZE {near} cannot be: start with "
            "torchrun"
        )
    return World(rank, size, local, near)


def connect(world: World, backend: str = "gloo", patience: timedelta | None = None) -> None:
    """Let the processes of ``world`` find each other. Raises ValueError when they do not.

    ``patience``: how long one waits for another (default: that of torch).
    """
    if world.size == 1:
        return
    if not dist.is_available():
        raise ValueError(f"torch {torch.__version__} is built without torch.distributed: start one process")
    try:
        dist.init_process_group(backend, timeout=patience)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the processes of this run do not find each other: {error}") from error


def join_world() -> World:
    """The place of this process among those that share a folder. Raises ValueError when they do not come together.

    What goes between them is too little for NCCL, and gloo works with any device.
    """
    world = read_world()
    connect(world, "gloo", _PATIENCE)
    return world


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _user_chose_threads() -> bool:
    """Whether OMP_NUM_THREADS is the user's. torchrun sets it to 1 for its children, not where it was started."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads != "1" or "TORCHELASTIC_RUN_ID" not in os.environ:
        return threads is not None
    try:
        return b"OMP_NUM_THREADS=" in Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return False
