"""How many pairs of one size go through the prior together: decided from times and from lack of memory alone."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
Size = tuple[int, int]
"""Height and width of the images of a batch."""
BatchSize = int | Literal["auto"]

GAIN = 0.05  # a larger batch must save this part of the time per pair

log = logging.getLogger("ddfm")


@dataclass
class _Trial:
    """What ``auto`` knows of one size: the batch to try next, the best one so far, whether that is the choice."""

    count: int = 1
    best: int = 1
    seconds: float = float("inf")  # per pair, of the best
    settled: bool = False


class BatchSizes:
    """The batch for each size: ``wanted``, or with ``auto`` doubled for as long as pairs get faster by it.

    Less once memory has run out: then at most half of what was tried, also for larger images. ``fits`` says
    whether a batch of so many pixels may be tried at all (``auto``; see :class:`~util.memory.MemoryPlan`).
    """

    def __init__(self, wanted: BatchSize, fits: Callable[[int], bool] = lambda pixels: True) -> None:
        self.wanted, self.fits = wanted, fits
        self._trials: dict[Size, _Trial] = {}
        self._refused: list[tuple[int, int]] = []  # area of an image, pixels of the batch

    def count(self, size: Size) -> int:
        """How many pairs of this size to take next, at least 1."""
        count = self._trials.setdefault(size, _Trial()).count if self.wanted == "auto" else int(self.wanted)
        while count > 1 and not self._allowed(size, count):
            count //= 2
        return count

    def _allowed(self, size: Size, count: int) -> bool:
        area = size[0] * size[1]
        return not any(area >= least and area * count >= pixels for least, pixels in self._refused)

    def went_through(self, size: Size, count: int, seconds: float) -> None:
        """Note that a batch took ``seconds`` (0: not known); with ``auto``, decide what to try next."""
        trial = self._trials.get(size)
        if self.wanted != "auto" or trial is None or trial.settled or count != trial.count or seconds <= 0:
            return
        if seconds / count > trial.seconds * (1 - GAIN):
            self._settle(size, trial, f"{count} are no faster")
            return
        trial.best, trial.seconds = count, seconds / count
        double = 2 * count
        if not self._allowed(size, double):
            self._settle(size, trial, f"memory does not hold {double}")
        elif not self.fits(double * size[0] * size[1]):
            self._settle(size, trial, f"{double} might take more memory than is free")
        else:
            trial.count = double

    def ran_out(self, size: Size, count: int, why: str = "memory does not hold") -> None:
        """Note that a batch of ``count`` > 1 did not fit."""
        area = size[0] * size[1]
        self._refused.append((area, area * count))
        trial = self._trials.get(size, _Trial())
        trial.best = trial.count = self.count(size)
        self._settle(size, trial, f"{why} {count}")

    def _settle(self, size: Size, trial: _Trial, why: str) -> None:
        trial.count, trial.settled = trial.best, True
        log.info(f"{size[1]}x{size[0]}: {trial.count} at a time from now on ({why})")


def take_all(
    items: Iterable[T], size: Size, sizes: BatchSizes, attempt: Callable[[list[T]], float | None]
) -> None:
    """Take items of one size to their end, each once, in batches that fit.

    ``attempt`` returns the seconds that a batch took (0: not known), or None when memory ran out, upon which its
    items are tried again unless it was one alone.
    """
    waiting = deque(items)
    while waiting:
        count = min(sizes.count(size), len(waiting))
        seconds = attempt([waiting[index] for index in range(count)])
        if seconds is None and count > 1:
            sizes.ran_out(size, count)
            continue
        for _ in range(count):
            waiting.popleft()
        if seconds is not None:
            sizes.went_through(size, count, seconds)
