"""How much memory there is, what this process holds, and telling that it has run out."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch

# Of a container: its limit and what it uses (control groups of version 2 and 1).
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, numpy or Python says that memory, of the device or of the machine, is used up."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def free_memory() -> None:
    """Drop what a failed batch has left, also from torch's cache. Call it outside the ``except`` clause."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def available_bytes() -> int | None:
    """Memory that may still be taken before Linux begins to end processes; None where that is not known."""
    known = []
    if (kib := _field(Path("/proc/meminfo"), "MemAvailable")) is not None:
        known.append(kib)
    for limit, used in _CONTAINER:
        try:
            known.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
        except (OSError, ValueError):  # no such files, or no limit ("max")
            continue
    return min(known, default=None)


def resident_bytes() -> int | None:
    """Memory that this process holds; None where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def peak_bytes() -> int | None:
    """The most that this process has held so far; None where that is not known."""
    return _field(Path("/proc/self/status"), "VmHWM")


def _field(path: Path, name: str) -> int | None:
    """Bytes of the line ``name: 123 kB``."""
    try:
        lines = path.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


class MemoryPlan:
    """Whether a batch will fit into the machine's memory, judged by what earlier ones took.

    Linux promises more memory than it has and ends the process that takes it at its word, so that a batch on the
    CPU must not be tried at random. ``share``: the part of the available memory that a batch may take. Where
    memory cannot be measured, everything fits.
    """

    def __init__(
        self,
        share: float,
        available: Callable[[], int | None] = available_bytes,
        resident: Callable[[], int | None] = resident_bytes,
        peak: Callable[[], int | None] = peak_bytes,
    ) -> None:
        self.share, self.available, self.resident, self.peak = share, available, resident, peak
        self._base = resident()
        self._per_pixel = math.inf

    def learn(self, pixels: int) -> None:
        """Note that a batch of so many pixels (of one source) has gone through."""
        peak = self.peak()
        if peak is not None and self._base is not None:
            # Each batch bounds the need from above: the peak may be that of another one.
            self._per_pixel = min(self._per_pixel, max(0, peak - self._base) / pixels)

    def fits(self, pixels: int) -> bool:
        """Whether a batch of so many pixels may be tried; the first may."""
        available, resident = self.available(), self.resident()
        if available is None or resident is None or self._base is None or self._per_pixel == math.inf:
            return True
        return pixels * self._per_pixel - (resident - self._base) <= self.share * available
