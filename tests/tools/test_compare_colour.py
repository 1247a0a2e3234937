"""``tools/compare_colour.py``: the measures on images whose values are known, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import make_pair
from tools import compare_colour
from util.evaluation.measures.colour import HEADINGS, ipt, measures
from util.images.image_io import grey_from_rgb, read_image

SHAPE = (48, 64)


def even(*colour: int) -> np.ndarray:
    """An image of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (*SHAPE, 3)).copy()


def test_ipt_of_greys_is_their_lightness_alone():
    i, p, t = ipt(np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=-1)[None])
    assert i[0, 0] == 0 and i[0, -1] == pytest.approx(1, abs=1e-3) and (np.diff(i) > 0).all()
    assert np.abs([p, t]).max() < 2e-3  # the published matrices have four digits


def test_ipt_signs():
    """P is positive for red and negative for green, T for yellow and blue."""
    _, p, t = ipt(np.array([[[255, 0, 0], [0, 255, 0], [255, 255, 0], [0, 0, 255]]], np.uint8))
    assert p[0, 0] > 0.2 and p[0, 1] < -0.2 and t[0, 2] > 0.2 and t[0, 3] < -0.2


def test_what_has_not_changed():
    source = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    values = measures(source, grey_from_rgb(source), source)
    assert list(values) == list(HEADINGS)
    assert values.pop("luma") == pytest.approx(0.25, abs=0.02)  # the grey was rounded
    assert np.isnan(values.pop("noise"))  # it rises nowhere
    assert all(value == 0 for value in values.values())


def test_luma_and_clipping_are_counted():
    source, luma = even(90, 90, 90), np.full(SHAPE, 90, np.uint8)
    result = source.copy()
    result[: SHAPE[0] // 2] += 4
    values = measures(result, luma, source)
    assert values["luma"] == pytest.approx(2) and values["clipped"] == pytest.approx(50)


def test_hue_is_that_of_the_coloured_pixels():
    """Half of the image turns by about 180 degrees, the other half is grey and does not count."""
    source, result = even(100, 100, 100), even(100, 100, 100)
    source[:, :32], result[:, :32] = (150, 100, 60), (60, 104, 150)
    assert measures(result, grey_from_rgb(result), source)["hue"] == pytest.approx(180, abs=15)
    assert measures(source // 2, grey_from_rgb(source // 2), source)["hue"] < 1


def test_saturation_of_grey_against_full_colour():
    source, grey = even(200, 60, 60), even(100, 100, 100)
    i, p, t = (plane[0, 0] for plane in ipt(source))
    expected = 100 * np.hypot(p, t) / np.sqrt(i**2 + p**2 + t**2)
    assert measures(grey, grey_from_rgb(grey), source)["satur."] == pytest.approx(expected, abs=0.5)


def test_a_fringe_is_colour_that_changes_where_only_luma_should():
    """Half the levels are nearly the same saturation, levels less 80 a much higher one."""
    luma = np.full(SHAPE, 160, np.uint8)
    luma[:, 32:] = 80
    source = even(176, 158, 128)
    shaded = source.copy()
    shaded[:, 32:] //= 2
    substituted = source.copy()
    substituted[:, 32:] -= 80
    fringes = [measures(image, luma, source)["fringe"] for image in (shaded, substituted)]
    assert fringes[0] < 1 and fringes[1] > 5 * fringes[0]
    assert measures(substituted, luma, substituted)["fringe"] == 0


def test_noise_is_relative_to_that_of_the_source():
    noise = np.random.default_rng(0).integers(-6, 7, SHAPE)
    source, result = even(100, 100, 100), even(140, 140, 140)
    source[..., 2] += noise.astype(np.uint8)  # wraps to a subtraction where negative
    result[..., 2] += (2 * noise).astype(np.uint8)
    values = measures(result, np.full(SHAPE, 140, np.uint8), source)
    assert values["noise"] == pytest.approx(2, rel=1e-6)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two pairs with a result, of which one has a colour."""
    make_pair(tmp_path, "a", (64, 96), colour="vi")
    make_pair(tmp_path, "b", (64, 96))
    (tmp_path / "fused").mkdir()
    for stem in "ab":
        Image.fromarray(read_image(tmp_path / f"ir/{stem}.png").luma).save(tmp_path / f"fused/{stem}.png")
    return tmp_path


def run(folders: Path, *more: str) -> int:
    line = [part for side in ("fused", "ir", "vi") for part in (f"--{side}", str(folders / side))]
    return compare_colour.main([*line, *more])


def test_table_and_picture(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folders, "--out", str(folders / "c.png"), "--height", "50") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 images"
    values = {line.split()[0]: [float(v) for v in line.split()[1:]] for line in lines[2:4]}
    assert set(values) == {"oklab", "ycbcr"} and len(values["oklab"]) == len(HEADINGS)
    assert values["oklab"][1] == 0 and values["oklab"][2] < values["ycbcr"][2]  # clipped, hue
    with Image.open(folders / "c.png") as picture:
        assert picture.height == 2 * 50 + 6 and picture.width >= 4 * 75 + 3 * 6


def test_files_that_do_not_fit_are_named(folders: Path, capsys: pytest.CaptureFixture[str]):
    Image.new("L", (40, 40)).save(folders / "fused/b.png")
    assert run(folders) == 1
    assert "b.png is (40, 40), but its sources are (64, 96)" in capsys.readouterr().err


def test_picture_that_cannot_be_written(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folders, "--out", str(folders / "ir/a.png/c.png")) == 1
    assert "c.png cannot be written" in capsys.readouterr().err


def test_nothing_to_compare(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folders, "--color", "ir") == 2
    assert "no pair has a source in colour" in capsys.readouterr().err
    assert run(folders, "--fused", str(folders / "none")) == 2
    assert "none is not a folder" in capsys.readouterr().err
