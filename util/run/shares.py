"""Which pairs each process of a run takes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TypeVar

from util.images.image_io import upright_size
from util.images.pairs import PairFiles
from util.run.results import ResultWriter

T = TypeVar("T")


def share_out(items: Sequence[T], costs: Sequence[float], count: int) -> list[list[T]]:
    """Items in ``count`` shares of nearly equal cost, the longest first (Graham 1969), the same on every process.

    The largest share costs at most 4/3 of the best possible. Each share keeps the order of ``items``.
    """
    heap = [(0.0, share) for share in range(count)]
    chosen: list[list[int]] = [[] for _ in range(count)]
    for index in sorted(range(len(items)), key=lambda index: (-costs[index], index)):
        total, share = heapq.heappop(heap)
        chosen[share].append(index)
        heapq.heappush(heap, (total + costs[index], share))
    return [[items[index] for index in sorted(share)] for share in chosen]


def share_pairs(
    pairs: Sequence[PairFiles], count: int, writer: ResultWriter, overwrite: bool, steps: int = 0
) -> list[list[PairFiles]]:
    """The pairs in ``count`` shares, by pixels; finished ones, and those that cannot be read, cost nothing.

    ``steps``: how many must have been recorded of a finished one.

    Looks at headers and hashes alone; whether a pair is finished or can be used is found out by who takes it.
    """

    def cost(files: PairFiles) -> float:
        height, width = upright_size(files.vi) or (0, 0)
        return 0 if not overwrite and writer.seems_done(files, steps) else height * width

    return share_out(pairs, [cost(files) for files in pairs], count)
