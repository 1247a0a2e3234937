"""Several methods on the same images: means, ranks, intervals, paired tests, and what plain copies would score."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from util.evaluation.inference import Interval, PairedTest, bootstrap, finite, holm, mean, signed_rank
from util.evaluation.metrics import LOWER_IS_BETTER, PAPER_METRICS, Protocol
from util.evaluation.problems import problem_line
from util.evaluation.tables import Block, Row, Table
from util.images.pairs import Problem

Scores = dict[str, float]
ALIKE = 0.999
"""From this correlation on a result counts as a copy of a source, or as their mean."""

FUSION, RANK = "Fusion", "rank"


@dataclass(frozen=True)
class Measured:
    """One fused image. ``likeness``: its correlation with "first", "second" (source) and "mean" of both."""

    scores: Scores
    likeness: Scores


@dataclass
class Comparison:
    """What :func:`util.evaluation.api.evaluate` gives: methods, images and metrics, in the order they were given in.

    ``methods``: name -> image -> :class:`Measured`; ``plain``: image -> name of a plain fusion (a copy of either
    source, their mean, the brighter of both) -> its scores in the metrics of the paper; ``sources``: what the two
    are called; ``available``: number of pairs; ``problems``: what could not be measured, by method.
    """

    dataset: str
    protocol: Protocol
    metrics: list[str]
    sources: tuple[str, str] = ("infrared", "visible")
    available: int = 0
    methods: dict[str, dict[str, Measured]] = field(default_factory=dict)
    plain: dict[str, dict[str, Scores]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def values(self, method: str, metric: str) -> list[float]:
        """Of every image, in the order of the images."""
        if metric == FUSION:
            scales = self.scales()
            return [self.distance(method, stem, scales)[0] for stem in self.methods[method]]
        return [measured.scores[metric] for measured in self.methods[method].values()]

    def mean(self, method: str, metric: str) -> float:
        return mean(self.values(method, metric))

    # ------------------------------------------------------------------ plain fusions

    @property
    def space(self) -> list[str]:
        """The metrics in which distances to plain fusions are measured: those of the paper among ours."""
        return [name for name in PAPER_METRICS if name in self.metrics] if self.plain else []

    def scales(self) -> Scores:
        """Of every metric of :attr:`space`: how far the plain fusions lie apart, mean over the images."""
        result = {}
        for metric in self.space:
            spans = [np.ptp([scores[metric] for scores in plain.values()]) for plain in self.plain.values()]
            span = float(np.mean(spans))
            if math.isfinite(span) and span > 0:
                result[metric] = span
        return result

    def distance(self, method: str, stem: str, scales: Scores | None = None) -> tuple[float, str]:
        """To the nearest plain fusion of that image, and its name: the root mean square over :attr:`space` of the
        differences, each divided by its scale. 0: it scores as a copy does; 1: as far from each as they are apart.
        ``scales``: :meth:`scales`, where they are known.
        """
        scales = self.scales() if scales is None else scales
        scores = self.methods[method][stem].scores
        if not scales or stem not in self.plain:
            return math.nan, ""
        return min(
            (
                math.sqrt(
                    statistics.fmean(((scores[m] - plain[m]) / scale) ** 2 for m, scale in scales.items())
                ),
                name,
            )
            for name, plain in self.plain[stem].items()
        )

    def mark(self, method: str) -> str:
        """ "copy of visible", "mean of both" or nothing: what the images are in fact, by their mean correlation."""
        found = self.methods[method].values()
        names = {"first": f"copy of {self.sources[0]}", "second": f"copy of {self.sources[1]}"}
        names["mean"] = "mean of both"
        for key, name in names.items():
            if found and statistics.fmean(measured.likeness[key] for measured in found) >= ALIKE:
                return name
        return ""

    # ------------------------------------------------------------------ statistics

    @property
    def ranked(self) -> list[str]:
        """Methods that are ranked: on as many images as the fullest, and no copy of a source nor the mean."""
        full = max((len(images) for images in self.methods.values()), default=0)
        return [
            name
            for name, images in self.methods.items()
            if images and len(images) == full and not self.mark(name)
        ]

    def ranks(self) -> dict[str, float]:
        """Mean rank over all metrics, 1 for the best; equal values share their ranks' mean."""
        names = self.ranked
        places: dict[str, list[float]] = {name: [] for name in names}
        for metric in self.metrics:
            sign = 1 if metric in LOWER_IS_BETTER else -1
            keys = [sign * self.mean(name, metric) for name in names]
            if any(math.isnan(key) for key in keys):
                continue
            for name, key in zip(names, keys, strict=True):
                better, equal = sum(other < key for other in keys), sum(other == key for other in keys)
                places[name].append(better + (equal + 1) / 2)
        return {name: statistics.fmean(of) for name, of in places.items() if of}

    def interval(self, method: str, metric: str) -> Interval:
        """The mean and its 95 % percentile bootstrap interval over images, from 2,000 resamples of a fixed seed."""
        return bootstrap(self.values(method, metric))

    def paired_tests(self, reference: str) -> list[PairedTest]:
        """Every method against one of them. Raises ValueError for a name that is none of them."""
        if reference not in self.methods:
            raise ValueError(
                f"there is no method {reference!r} to compare with; there are {', '.join(self.methods)}"
            )
        tests = []
        for name, images in self.methods.items():
            common = [stem for stem in images if stem in self.methods[reference]]
            if name == reference or not common:
                continue
            for metric in self.metrics:
                pairs = [
                    (images[stem].scores[metric], self.methods[reference][stem].scores[metric])
                    for stem in common
                ]
                differences = [one - two for one, two in pairs]
                tests.append(
                    PairedTest(name, metric, bootstrap(differences), signed_rank(differences), len(common))
                )
        return holm(tests)

    # ------------------------------------------------------------------ as a table

    def table(self) -> Table:
        """All methods in one block, with the mean rank and the distance to plain fusions, if these were measured."""
        ranks = self.ranks() if len(self.ranked) > 1 else {}
        columns = [*self.metrics, *[FUSION] * bool(self.scales()), *[RANK] * bool(ranks)]
        rows = []
        for name, images in self.methods.items():
            if not images:
                continue
            values = {metric: self.mean(name, metric) for metric in columns if metric != RANK}
            values |= {RANK: ranks[name]} if name in ranks else {}
            count = (
                str(len(images)) if len(images) == self.available else f"{len(images)} of {self.available}"
            )
            rows.append(Row(name, "here", values, count, self.mark(name), name in self.ranked))
        return Table(
            None, "Comparison", columns, [Block(self.dataset, rows)], self.protocol, self.all_notes()
        )

    def all_notes(self) -> list[str]:
        """What the reader of the table must know, the settings that differ first."""
        notes = list(self.notes)
        for name, images in self.methods.items():
            if images and (mark := self.mark(name)):
                notes.append(f"{name} is a {mark} (correlation of at least {ALIKE}): not ranked, never best")
        counts = {len(images) for images in self.methods.values() if images}
        if len(counts) > 1:
            notes.append(
                f"only methods on {max(counts)} images are ranked; --common measures all on the same ones"
            )
        for name, problems in self.problems.items():
            if problems:
                notes.append(f"{name}: {problem_line(problems)}")
        if scales := self.scales():
            notes.append(
                f"{FUSION}: distance to the nearest of {', '.join(plain_names(self.sources))}, root mean square over "
                f"{', '.join(scales)}, each in units of how far these four lie apart; 0 is a copy"
            )
        if self.ranks() and len(self.ranked) > 1:
            notes.append(f"{RANK}: mean over the metrics, 1 is best")
        return notes

    # ------------------------------------------------------------------ out

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; what is not finite is None."""
        result: dict[str, object] = {
            "dataset": self.dataset,
            "protocol": self.protocol,
            "metrics": list(self.metrics),
            "sources": list(self.sources),
            "pairs": self.available,
            "notes": self.all_notes(),
        }
        methods = {}
        ranks = self.ranks()
        for name, images in self.methods.items():
            intervals = {metric: self.interval(name, metric) for metric in self.metrics}
            methods[name] = {
                "mean": {metric: finite(interval.mean) for metric, interval in intervals.items()},
                "interval": {m: [finite(i.low), finite(i.high)] for m, i in intervals.items()},
                "rank": ranks.get(name),
                "mark": self.mark(name) if images else "",
                "fusion": finite(self.mean(name, FUSION)) if images and self.scales() else None,
                "images": {
                    stem: {metric: finite(value) for metric, value in measured.scores.items()}
                    for stem, measured in images.items()
                },
                "problems": {problem.stem: problem.reason for problem in self.problems.get(name, [])},
            }
        return {**result, "methods": methods}


def plain_names(sources: Sequence[str]) -> list[str]:
    """What the plain fusions are called, in the order of :attr:`Comparison.plain`."""
    return [f"copy of {sources[0]}", f"copy of {sources[1]}", "mean of both", "brighter of both"]
