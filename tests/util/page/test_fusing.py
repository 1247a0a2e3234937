"""Scenes at the desk: fused as the library fuses them, one at a time, and stopped between steps."""

from __future__ import annotations

import csv
import dataclasses
import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddfm import preset
from tests.conftest import make_pair
from util.images.png import read_png_text
from util.page import fusing, markup
from util.page.choices import Choices
from util.page.fusing import Desk, Progress, Run, Stopped
from util.page.limits import Limits
from util.page.outcome import MEASURED, write_files
from util.page.pictures import Picture, read_pictures, sample_pairs


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    make_pair(tmp_path, "a", (70, 90), "vi")
    return tmp_path / "ir/a.png", tmp_path / "vi/a.png"


@pytest.fixture
def pictures(pair: tuple[Path, Path]) -> list[Picture]:
    return read_pictures(pair, Limits())


def follow(run: Run, at_step: Callable[[Progress], object] = lambda progress: None) -> list[Progress]:
    seen = []
    for progress in run.follow():
        seen.append(progress)
        if progress.done:
            at_step(progress)
    return seen


@pytest.mark.parametrize(("method", "steps"), [("local", None), ("local_fast", None), ("quick", 3)])
def test_it_is_what_the_library_makes(
    pair: tuple[Path, Path], pictures: list[Picture], method: str, steps: int | None
):
    run = Run(Desk(Limits(), "cpu"), pictures, Choices(method, steps=steps))
    seen = follow(run)
    outcome = run.outcome()
    expected = preset(method, steps=steps).fuse(pair)
    assert np.array_equal(outcome.grey, expected.grey)
    assert outcome.colour is not None and expected.color is not None
    assert np.array_equal(outcome.colour, expected.color)
    assert list(outcome.scores) == list(MEASURED) and all(np.isfinite(list(outcome.scores.values())))
    images = [progress.image for progress in seen if progress.image is not None]
    assert all(image.shape == (70, 90) and image.dtype == np.uint8 for image in images)
    assert all(0 < progress.done <= progress.steps for progress in seen if progress.image is not None)


def test_the_files_tell_what_made_them(tmp_path: Path, pictures: list[Picture]):
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("local_fast"))
    follow(run)
    outcome = run.outcome()
    assert outcome.colour is not None and pictures[1].rgb is not None
    (tmp_path / "out").mkdir()
    png, archive = write_files(outcome, tmp_path / "out")
    assert sorted(tmp_path.joinpath("out").iterdir()) == [png, archive]
    with Image.open(png) as image:
        assert np.array_equal(np.asarray(image), outcome.colour)
    made = json.loads(read_png_text(png)["ddfm"])
    assert (
        made["preset"] == "local_fast"
        and made["seed"] == 3407
        and made["rectification"]["variant"] == "local_fast"
    )
    assert made["sources"] == [{"name": "a.png", "sha256": picture.sha256} for picture in pictures]
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        assert sorted(packed.namelist()) == [
            "fused_colour.png", "fused_grey.png", "metrics.csv", "provenance.json", "source_1.png", "source_2.png",
        ]  # fmt: skip
        assert json.loads(packed.read("provenance.json")) == made
        header, values = csv.reader(packed.read("metrics.csv").decode().splitlines())
        assert dict(zip(header, map(float, values), strict=True)) == outcome.scores
        packed.extractall(tmp_path / "in")
    assert read_png_text(tmp_path / "in/fused_grey.png")["ddfm"] == json.dumps(made)
    with (
        Image.open(tmp_path / "in/fused_grey.png") as grey,
        Image.open(tmp_path / "in/source_2.png") as source,
    ):
        assert np.array_equal(np.asarray(grey), outcome.grey)
        assert np.array_equal(np.asarray(source), pictures[1].rgb)


def test_several_samples_tell_how_uncertain_it_is(tmp_path: Path, pictures: list[Picture]):
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("quick", steps=2, samples=4))
    seen = follow(run)
    outcome = run.outcome()
    assert (
        outcome.deviation is not None and outcome.deviation.shape == (70, 90) and outcome.deviation.max() > 0
    )
    assert outcome.provenance["samples"] == 4 and outcome.provenance["eta"] == 1.0
    assert all(progress.steps in (0, 8) and progress.done <= 8 for progress in seen)
    assert "Uncertainty" in [view.label for view in markup.views(outcome)]
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(write_files(outcome, tmp_path / "out")[1]) as packed:
        packed.extract("uncertainty.png", tmp_path)
    assert read_png_text(tmp_path / "uncertainty.png")["scale"].startswith("standard deviation")
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("local_fast", samples=4))
    follow(run)
    with pytest.raises(ValueError, match="without a prior nothing is random"):
        run.outcome()


def test_images_that_do_not_fit_are_brought_together(tmp_path: Path):
    pytest.importorskip("SimpleITK", reason="needs SimpleITK: pip install -r requirements-register.txt")
    first, second = read_pictures(sample_pairs()["smoke"], Limits())
    moved = dataclasses.replace(first, luma=np.ascontiguousarray(first.luma[3:-20, 9:-5]))
    desk = Desk(Limits(), "cpu")
    with pytest.raises(ValueError, match=r"Settings, Alignment"):
        Run(desk, [moved, second], Choices("local_fast"))
    run = Run(desk, [moved, second], Choices("local_fast", register="translation"))
    follow(run)
    outcome = run.outcome()
    (found,) = outcome.provenance["registration"]
    assert found["used"] and outcome.grey.shape == second.size
    # what is shown and measured beside the result lies where the result has it
    inside = np.s_[40:-60, 40:-60]
    straight = np.corrcoef(outcome.sources[0].luma[inside].ravel(), first.luma[inside].ravel())[0, 1]
    assert straight > 0.95
    assert "pixels on average (translation)" in markup.details(outcome)


def test_three_images_have_no_metrics_of_two(tmp_path: Path, pair: tuple[Path, Path]):
    make_pair(tmp_path, "b", (70, 90))
    pictures = read_pictures([*pair, tmp_path / "ir/b.png"], Limits())
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("local_fast"))
    follow(run)
    outcome = run.outcome()
    assert not outcome.scores and "for two images, and there are 3" in outcome.unmeasured


def test_too_small_to_be_measured_is_fused_all_the_same(tmp_path: Path):
    make_pair(tmp_path, "s", (40, 40))
    pictures = read_pictures([tmp_path / "ir/s.png", tmp_path / "vi/s.png"], Limits())
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("local_fast"))
    follow(run)
    assert run.outcome().grey.shape == (40, 40) and "at least 41 pixels" in run.outcome().unmeasured


def test_what_cannot_be_fused_is_said_before(pictures: list[Picture]):
    desk = Desk(Limits(), "cpu")
    with pytest.raises(ValueError, match="fusing needs two images"):
        Run(desk, pictures[:1], Choices())
    with pytest.raises(ValueError, match="released has no tone"):
        Run(desk, pictures, Choices("released", tone="mild"))
    run = Run(desk, [*pictures, pictures[0]], Choices("quick", steps=2))
    follow(run)
    with pytest.raises(ValueError, match="takes 2 sources, but there are 3"):
        run.outcome()


def test_it_stops_between_steps(pictures: list[Picture]):
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("released"))
    seen = follow(run, lambda progress: run.stop("as you asked"))
    with pytest.raises(Stopped, match="as you asked"):
        run.outcome()
    assert 0 < seen[-1].done < seen[-1].steps == 100


def test_the_time_limit_stops_it(pictures: list[Picture]):
    run = Run(Desk(Limits(seconds=1), "cpu"), pictures, Choices("released"))
    seen = follow(run)
    with pytest.raises(Stopped, match="the time limit of 1 s is over; choose fewer steps"):
        run.outcome()
    assert seen[-1].done < 100


def test_one_that_nobody_follows_stops(pictures: list[Picture], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fusing, "ABANDONED", 0.5)
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("released"))
    progress = run.follow()
    next(progress)  # and no more, as when a browser is closed
    run._thread.join(60)
    with pytest.raises(Stopped, match="nobody waits"):
        run.outcome()
    run = Run(Desk(Limits(), "cpu"), pictures, Choices("released"))
    progress = run.follow()
    next(progress)
    progress.close()
    run._thread.join(60)
    with pytest.raises(Stopped, match="nobody waits"):
        run.outcome()


def test_scenes_take_turns(pictures: list[Picture]):
    desk = Desk(Limits(), "cpu")
    runs = [Run(desk, pictures, Choices("quick", steps=3)) for _ in range(2)]
    words: list[list[str]] = [[], []]
    with desk.turn:
        threads = [
            threading.Thread(
                target=lambda run=run, said=said: said.extend(progress.words for progress in run.follow())
            )
            for run, said in zip(runs, words, strict=True)
        ]
        for thread in threads:
            thread.start()
        threads[0].join(1)
        assert not any(run._step for run in runs)
    for thread in threads:
        thread.join(120)
    assert all(said[0] == "waiting for the scene before" for said in words)
    assert np.array_equal(runs[0].outcome().grey, runs[1].outcome().grey)
