"""Measuring in threads and in processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.util.evaluation.test_metrics import picture
from util.evaluation.comparison import Measured
from util.evaluation.measuring import Job, Outcome, measure_all
from util.evaluation.metrics import ALL_METRICS, OPTIONAL_METRICS
from util.images.image_io import pixel_limit
from util.images.pairs import Problem

USUAL = [name for name in ALL_METRICS if name not in OPTIONAL_METRICS]


def jobs(count: int) -> list[Job]:
    """Of images large enough for every metric to be a number."""
    sides = [[picture(3 * job + side, (164, 170)) for side in range(3)] for job in range(count)]
    return [Job(str(number), a, b, {"one": f, "two": a}) for number, (a, b, f) in enumerate(sides)]


@pytest.mark.parametrize(("count", "workers"), [(3, 2), (5, 2), (8, 3)])
def test_any_number_of_workers_gives_the_same_bits(count: int, workers: int):
    """A few images by threads, more by processes."""
    expected = list(measure_all(jobs(count), USUAL, "ddfm", plain=True, workers=1))
    assert list(measure_all(jobs(count), USUAL, "ddfm", plain=True, workers=workers)) == expected


def test_processes_open_no_larger_image_than_this_one(tmp_path: Path):
    file = tmp_path / "a.png"
    Image.fromarray(picture(0, (70, 100))).save(file)
    files = [Job(str(number), file, file, {"one": file}) for number in range(12)]
    with pixel_limit(3000):
        outcomes = list(measure_all(files, ["EN"], "ddfm", plain=False, workers=3))
    assert all("pixels" in problem_of(outcome).reason for outcome in outcomes)


class Deadly:
    """An image at which a process ends that receives it; the first to be read here gives others the time to start."""

    waits = 5.0

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        time.sleep(self.waits)
        self.waits = 0.0
        return picture(0, (70, 100))

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_an_ended_process_is_a_problem_of_its_image():
    deadly: Any = Deadly()
    wanted = [Job(str(n), deadly, picture(1, (70, 100)), {"one": picture(2, (70, 100))}) for n in range(12)]
    outcomes = list(measure_all(wanted, USUAL, "ddfm", plain=False, workers=2))
    problems = [outcome.methods["one"] for outcome in outcomes if isinstance(outcome.methods["one"], Problem)]
    assert 0 < len(problems) < 12 and all("was ended" in problem.reason for problem in problems)
    assert all("--workers 1" in problem.reason for problem in problems)
    found = [outcome.methods["one"] for outcome in outcomes]
    measured = {one.scores["EN"] for one in found if isinstance(one, Measured)}
    assert len(measured) == 1


def problem_of(outcome: Outcome) -> Problem:
    problem = outcome.methods["one"]
    assert isinstance(problem, Problem)
    return problem
