"""Files of visitors: whatever they are called, they are images or an error in words."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.conftest import make_pair
from util.images.image_io import ImageError, read_image
from util.page.limits import Limits
from util.page.pictures import check_sizes, read_picture, read_pictures, sample_pairs, shown_name

LIMITS = Limits(pixels=10_000, megabytes=1, images=3)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    make_pair(tmp_path, "a", (64, 96), "vi")
    return tmp_path / "ir/a.png", tmp_path / "vi/a.png"


def test_images_are_what_sample_py_reads(pair: tuple[Path, Path]):
    first, second = read_pictures(pair, LIMITS)
    for picture, path in ((first, pair[0]), (second, pair[1])):
        read = read_image(path)
        assert (picture.name, picture.sha256, picture.size) == ("a.png", read.sha256, (64, 96))
        assert np.array_equal(picture.luma, read.luma)
    assert first.rgb is None and second.pixels.shape == (64, 96, 3)
    assert (first.measures, second.measures) == ("96 x 64 pixels, grey", "96 x 64 pixels, colour")


def test_sixteen_bits_are_read_as_such(tmp_path: Path):
    levels = (np.arange(64 * 64, dtype=np.uint16) + 30_000).reshape(64, 64)
    tifffile.imwrite(tmp_path / "deep.tif", levels)
    luma = read_picture(tmp_path / "deep.tif", LIMITS).luma
    assert (luma.min(), luma.max()) == (0, 255) and len(np.unique(luma)) == 256


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.png", "x.png"),
        ("a\nb\x1b[2J.png", "a?b?[2J.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("x" * 300 + ".png", "x" * 68 + "..." + "xxxxx.png"),
    ],
)
def test_a_name_is_a_name_and_no_path(path: str, shown: str):
    assert shown_name(path) == shown


def test_what_cannot_be_used_is_said(tmp_path: Path, pair: tuple[Path, Path]):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    Image.new("L", (101, 100), 7).save(tmp_path / "large.png")
    Image.new("L", (31, 64)).save(tmp_path / "narrow.png")
    Image.new("L", (64, 64), 7).save(tmp_path / "even.png")
    (tmp_path / "heavy.png").write_bytes(os.urandom(1_000_001))
    said = {
        "text.png": "not a readable image",
        "empty.png": "the file is empty",
        "large.png": "101 x 100 pixels, but this page takes up to 10,000",
        "narrow.png": "31 x 64 pixels; the smallest side possible is 32",
        "even.png": "all its pixels look the same",
        "heavy.png": "1 MB, but this page takes files of up to 1 MB",
        "gone.png": "not here any more; upload it again",
    }
    for name, words in said.items():
        with pytest.raises(ImageError, match=words) as error:
            read_picture(tmp_path / name, LIMITS)
        assert str(error.value).startswith(f"{name}: ")  # and not where it lies here
        assert str(tmp_path) not in str(error.value)
    with pytest.raises(ValueError, match=r"text.png: .*\nempty.png: "):
        read_pictures([tmp_path / "text.png", pair[0], tmp_path / "empty.png"], LIMITS)
    with pytest.raises(ValueError, match="4 images, but this page takes up to 3"):
        read_pictures([pair[0]] * 4, LIMITS)


def test_sizes_must_be_one(tmp_path: Path, pair: tuple[Path, Path]):
    make_pair(tmp_path, "b", (64, 64))
    pictures = read_pictures([pair[0], tmp_path / "vi/b.png"], LIMITS)
    with pytest.raises(ValueError, match=r"a\.png is 96 x 64 pixels, grey; b\.png is 64 x 64 pixels, grey"):
        check_sizes(pictures)
    check_sizes(pictures[:1])


def test_the_samples_can_be_used():
    for paths in sample_pairs().values():
        check_sizes(read_pictures(paths, Limits()))


@pytest.mark.parametrize("wrong", [{"pixels": 0}, {"seconds": -1}, {"images": 1}])
def test_limits_are_checked(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="but"):
        Limits(**wrong)
