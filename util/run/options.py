"""How a run goes about its pairs, and the function that it hands them to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from util.images.image_io import ValueRange
from util.images.pairs import FitMode, Pair
from util.run.batching import BatchSize

OnStep = Callable[[int, Callable[[], np.ndarray]], None]
FuseBatch = Callable[[list[Pair], OnStep], np.ndarray]


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its pairs.

    ``steps``: that every pair takes; ``memory_share``: the part of the machine's available memory that a batch of
    ``auto`` may take; ``max_pixels``: of an image that is opened; ``elsewhere``: how many pairs other processes take,
    of which this one keeps the record.
    """

    steps: int
    fit: FitMode
    ir_range: ValueRange | None = None
    vi_range: ValueRange | None = None
    max_pixels: int | None = None
    batch_size: BatchSize = 1
    memory_share: float = math.inf
    elsewhere: int = 0
    overwrite: bool = False
    record_steps: bool = False
    quiet: bool = False
