"""Measuring pairs of sources with all the methods that fused them: every image is read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from util.allocator import keep_freed_memory
from util.evaluation.comparison import Comparison, Measured, Scores, plain_names
from util.evaluation.measures.common import correlation_with
from util.evaluation.measures.metric_image import Image
from util.evaluation.metrics import PAPER_METRICS, Protocol, check_size, evaluate_images
from util.images.image_io import grey_from_rgb, most_pixels, pixel_limit, read_image
from util.images.pairs import Problem, fitted_size
from util.workers import share_out

Picture = Path | NDArray[np.uint8]
"""A file, or an array of (H, W) grey or (H, W, 3) RGB levels."""

_FEW = 3  # so many images are measured by threads, before a process would have started


@dataclass(frozen=True)
class Job:
    """One pair: its two sources and what each method made of it."""

    stem: str
    first: Picture
    second: Picture
    fused: Mapping[str, Picture]


@dataclass(frozen=True)
class Outcome:
    """What came of a job: of every method the measured image or the problem; the scores of the plain fusions."""

    methods: dict[str, Measured | Problem]
    plain: dict[str, Scores] = field(default_factory=dict)


def available_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def levels(picture: Picture, name: str = "") -> NDArray[np.uint8]:
    """(H, W) uint8. Raises ValueError for arrays of another type or shape, or a file that cannot be read."""
    if isinstance(picture, Path):
        return read_image(picture).luma
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(
            f"{name}: metrics take (H, W) or (H, W, 3) uint8 arrays, not {array.shape} {array.dtype}; bring them to "
            "levels 0 ... 255 first"
        )
    return grey_from_rgb(array) if array.ndim == 3 else array


def measure(job: Job, metrics: Sequence[str], protocol: Protocol, plain: bool) -> Outcome:
    """All methods on one pair. A fused image cropped to multiples of 32 is compared with the same crop."""
    try:
        sources = [levels(side, f"source {job.stem}") for side in (job.first, job.second)]
        if sources[0].shape != sources[1].shape:
            sizes = f"{sources[0].shape} and {sources[1].shape}"
            raise ValueError(f"{_name(job.first, job)} and {_name(job.second, job)} differ in size: {sizes}")
    except (ValueError, MemoryError) as error:
        return Outcome({name: Problem(job.stem, _reason(error, job.first)) for name in job.fused})
    crops: dict[tuple[int, ...], tuple[Image, Image, Image]] = {}
    methods: dict[str, Measured | Problem] = {}
    for name, picture in job.fused.items():
        try:
            fused = levels(picture, name)
            full = sources[0].shape
            if fused.shape not in (full, fitted_size((full[0], full[1]), "crop")):
                raise ValueError(
                    f"{_name(picture, job)} is {fused.shape}, which is neither the sources' size {full} nor its crop "
                    "to multiples of 32"
                )
            check_size(fused.shape)
            if fused.shape not in crops:
                crops[fused.shape] = _cropped(sources, fused.shape)
            a, b, middle = crops[fused.shape]
            f = Image(fused)
            scores = evaluate_images(f, a, b, metrics, protocol)
            likeness = {
                key: correlation_with(f, image)
                for key, image in (("first", a), ("second", b), ("mean", middle))
            }
            methods[name] = Measured(scores, likeness)
        except (ValueError, MemoryError) as error:
            methods[name] = Problem(job.stem, _reason(error, picture))
    space = [name for name in PAPER_METRICS if name in metrics]
    if not (plain and space and crops):
        return Outcome(methods)
    a, b, middle = crops[max(crops)]
    brighter = Image(np.maximum(a.levels, b.levels))
    images = zip(plain_names(("first", "second")), (a, b, middle, brighter), strict=True)
    return Outcome(methods, {name: evaluate_images(image, a, b, space, protocol) for name, image in images})


def _cropped(sources: Sequence[NDArray[np.uint8]], shape: tuple[int, ...]) -> tuple[Image, Image, Image]:
    a, b = (np.ascontiguousarray(source[: shape[0], : shape[1]]) for source in sources)
    return Image(a), Image(b), Image(((a.astype(np.uint16) + b + 1) // 2).astype(np.uint8))


def _name(picture: Picture, job: Job) -> str:
    return str(picture) if isinstance(picture, Path) else f"an array of {job.stem}"


def _reason(error: BaseException, picture: Picture) -> str:
    if isinstance(error, MemoryError):
        where = f"{picture}: " if isinstance(picture, Path) else ""
        return f"{where}there is not enough memory for it; measure it on a larger machine or leave it out"
    return str(error)


def measure_all(
    jobs: Sequence[Job], metrics: Sequence[str], protocol: Protocol, plain: bool, workers: int
) -> Iterator[Outcome]:
    """In the order of the jobs, by ``workers`` processes, of which this is one, or threads for a few jobs."""
    score = partial(measure, metrics=list(metrics), protocol=protocol, plain=plain)
    workers = min(workers, len(jobs))
    keep_freed_memory()
    if workers <= 1:
        return map(score, jobs)
    if len(jobs) <= _FEW:
        return _in_threads(score, jobs, workers)
    return share_out(score, jobs, workers, _lost, partial(_prepare, most_pixels()))


def _in_threads(score: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(score, jobs)


def _prepare(pixels: int | None) -> None:
    """A process of its own, for as long as it lives."""
    keep_freed_memory()
    pixel_limit(pixels).__enter__()


def _lost(job: Job) -> Outcome:
    reason = "the process that measured it was ended, as systems do that are short of memory; --workers 1 takes least"
    return Outcome({name: Problem(job.stem, reason) for name in job.fused})


def compare(
    jobs: Sequence[Job],
    metrics: Sequence[str],
    protocol: Protocol,
    *,
    dataset: str = "images",
    sources: tuple[str, str] = ("infrared", "visible"),
    plain: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> Comparison:
    """Measure all jobs, with a progress bar on a terminal; ``workers`` None: as many as there are cores."""
    names = list(dict.fromkeys(name for job in jobs for name in job.fused))
    result = Comparison(dataset, protocol, list(metrics), sources, len(jobs))
    result.methods = {name: {} for name in names}
    result.problems = {name: [] for name in names}
    outcomes = measure_all(jobs, metrics, protocol, plain, workers or available_workers())
    from tqdm import tqdm  # here, for the processes that measure show no progress

    bar = tqdm(zip(jobs, outcomes, strict=True), total=len(jobs), disable=None if progress else True)
    for job, outcome in bar:
        for name, measured in outcome.methods.items():
            if isinstance(measured, Problem):
                result.problems[name].append(measured)
            else:
                result.methods[name][job.stem] = measured
        if outcome.plain:
            shown = plain_names(sources)
            result.plain[job.stem] = dict(zip(shown, outcome.plain.values(), strict=True))
    return result
