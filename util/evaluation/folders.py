"""Evaluating a folder of fused images against its sources."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from util.evaluation.comparison import Measured
from util.evaluation.inference import finite, mean
from util.evaluation.matched import match_folders
from util.evaluation.measuring import Job, measure_all
from util.evaluation.metrics import Protocol
from util.images.matching import BY_STEM, Matching
from util.images.pairs import Problem

Scores = dict[str, float]


def mean_of(scores: Sequence[Scores]) -> Scores:
    """The mean of every value over images that all have the same ones."""
    return {name: mean([score[name] for score in scores]) for name in scores[0]}


@dataclass(frozen=True)
class Triple:
    """The files of one evaluation."""

    stem: str
    fused: Path
    ir: Path
    vi: Path


@dataclass
class Evaluation:
    """Scores of every image, and what could not be evaluated."""

    protocol: Protocol
    metrics: Sequence[str]
    images: dict[str, Scores] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def statistic(self, metric: str) -> tuple[float, float]:
        """Mean and population standard deviation over the images."""
        values = [scores[metric] for scores in self.images.values()]
        if not all(map(math.isfinite, values)):
            return mean(values), math.nan
        return statistics.fmean(values), statistics.pstdev(values)

    def table(self) -> str:
        """Mean and standard deviation of every metric, as aligned text."""
        lines = [f"protocol {self.protocol}, {len(self.images)} images", f"{'':6}{'mean':>10}{'std':>10}"]
        lines += [
            f"{name:6}{mean:10.4f}{std:10.4f}"
            for name in self.metrics
            for mean, std in [self.statistic(name)]
        ]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Protocol, means, deviations, images and problems; what is not finite becomes null."""
        summary = {name: self.statistic(name) for name in self.metrics}
        content = {
            "protocol": self.protocol,
            "mean": {name: finite(average) for name, (average, _) in summary.items()},
            "std": {name: finite(std) for name, (_, std) in summary.items()},
            "images": {
                stem: {name: finite(value) for name, value in scores.items()}
                for stem, scores in self.images.items()
            },
            "problems": {problem.stem: problem.reason for problem in self.problems},
        }
        return json.dumps(content, indent=2) + "\n"

    def to_csv(self) -> str:
        """A line for each image and one for the mean."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["image", *self.metrics])
        writer.writerows([stem, *scores.values()] for stem, scores in self.images.items())
        writer.writerow(["mean", *(self.statistic(name)[0] for name in self.metrics)])
        return buffer.getvalue()


@dataclass(frozen=True)
class Result:
    """The fused images of one data set by one method, measured.

    ``origin``: what made them, for notes; ``sources``: what the two sources are called, None goes by the data set.
    """

    dataset: str
    label: str
    evaluation: Evaluation
    triples: list[Triple]
    origin: str = ""
    sources: tuple[str, str] | None = None


def find_triples(
    fused: Path, ir: Path, vi: Path, matching: Matching = BY_STEM
) -> tuple[list[Triple], list[Problem]]:
    """Files of the three folders that belong together, by stem where no other rule is given; every other file is a
    problem.

    Raises InputError when a folder is missing or holds no image, or when files cannot be matched so.
    """
    matched = match_folders(ir, vi, {"fused": fused}, matching)
    found = {side: matched.files[side] for side in ("fused", "ir", "vi")}
    triples: list[Triple] = []
    problems: list[Problem] = []
    for stem in sorted(set().union(*found.values())):
        missing = [side for side in found if stem not in found[side]]
        several = [side for side in found if len(found[side].get(stem, [])) > 1]
        if missing:
            problems.append(matched.absent(stem, *missing))
        elif several:
            problems.append(matched.doubled(stem, several[0]))
        else:
            triples.append(Triple(stem, *(found[side][stem][0] for side in found)))
    return triples, problems


def evaluate_triples(
    triples: Sequence[Triple], metrics: Sequence[str], protocol: Protocol, workers: int
) -> Iterator[Scores | Problem]:
    """Results in the order of ``triples``, computed by that many workers."""
    jobs = [Job(triple.stem, triple.ir, triple.vi, {"fused": triple.fused}) for triple in triples]
    for outcome in measure_all(jobs, metrics, protocol, plain=False, workers=workers):
        measured = outcome.methods["fused"]
        yield measured.scores if isinstance(measured, Measured) else measured


def evaluate_all(
    triples: Sequence[Triple],
    problems: Sequence[Problem],
    metrics: Sequence[str],
    protocol: Protocol,
    workers: int,
) -> Evaluation:
    """Evaluate with a progress bar; images that cannot be used join the ``problems``."""
    result = Evaluation(protocol, metrics, problems=list(problems))
    outcomes = evaluate_triples(triples, metrics, protocol, workers)
    for triple, outcome in tqdm(zip(triples, outcomes, strict=True), total=len(triples), disable=None):
        if isinstance(outcome, Problem):
            result.problems.append(outcome)
        else:
            result.images[triple.stem] = outcome
    return result
