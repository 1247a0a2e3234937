"""How a run goes about its pairs, and the function that it hands them to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from util.images.image_io import ValueRange
from util.images.pairs import FitMode, Pair
from util.images.registration.search import Register
from util.run.batching import BatchSize
from util.run.results import FusedPair

OnStep = Callable[[int, Callable[[], np.ndarray], int, int], None]
"""Index of the step, what gives the lumas of the state, the sample's number from 0, how many samples go together."""
FuseBatch = Callable[[list[Pair], OnStep], list[FusedPair]]


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its pairs.

    ``steps``: that every pair takes, all samples together; ``ranges``: one for each source; ``memory_share``: the
    part of the machine's available memory that a batch of ``auto`` may take; ``max_pixels``: of an image that is
    opened; ``elsewhere``: how many pairs other processes take, of which this one keeps the record;
    ``record_steps``: how many states of a pair are recorded, those of its first sample (0: none).
    """

    steps: int
    fit: FitMode
    ranges: Sequence[ValueRange | None] | None = None
    max_pixels: int | None = None
    register: Register = "off"
    batch_size: BatchSize = 1
    memory_share: float = math.inf
    elsewhere: int = 0
    overwrite: bool = False
    record_steps: int = 0
    quiet: bool = False
