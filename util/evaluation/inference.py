"""From images to all images: means, bootstrap intervals, and tests of paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Of one metric, method minus reference over the images that both have. ``p``: Wilcoxon's signed-rank test, two
    sided, after Holm's correction for all tests of a comparison."""

    method: str
    metric: str
    difference: Interval
    p: float
    images: int


def mean(values: Sequence[float]) -> float:
    """Their mean; NaN where there is none, or where infinities of both signs meet."""
    if not values or {math.inf, -math.inf} <= set(values):
        return math.nan
    return statistics.fmean(values)


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean and 95 % percentile interval of the mean over resampled images; NaN where a value is not finite."""
    sample = np.asarray(values, np.float64)
    if not len(sample) or not np.isfinite(sample).all():
        return Interval(mean(values), math.nan, math.nan)
    chosen = np.random.default_rng(seed).integers(len(sample), size=(_RESAMPLES, len(sample)))
    low, high = np.percentile(sample[chosen].mean(axis=1), (2.5, 97.5))
    return Interval(float(sample.mean()), float(low), float(high))


def signed_rank(differences: Sequence[float]) -> float:
    """Wilcoxon's p; 1 where nothing differs, NaN where a value is not finite."""
    if not np.isfinite(differences).all():
        return math.nan
    if not any(differences):
        return 1.0
    from scipy.stats import wilcoxon  # here, for it is slow to load

    return float(wilcoxon(differences)[1])  # pyright: ignore[reportArgumentType]


def holm(tests: list[PairedTest]) -> list[PairedTest]:
    order = sorted(
        (index for index, test in enumerate(tests) if not math.isnan(test.p)), key=lambda i: tests[i].p
    )
    corrected, largest = list(tests), 0.0
    for place, index in enumerate(order):
        test = tests[index]
        largest = max(largest, min(1.0, (len(order) - place) * test.p))
        corrected[index] = PairedTest(test.method, test.metric, test.difference, largest, test.images)
    return corrected
