"""Matching files, and fitting sizes."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import make_pair
from util.images.pairs import (
    MULTIPLE,
    InputError,
    PairError,
    PairFiles,
    find_pairs,
    fit,
    fitted_size,
    load_pair,
    output_size,
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_pairs_match_by_stem_in_order(tmp_path: Path):
    touch(tmp_path, "ir/b.png", "vi/b.JPG", "ir/a.tif", "vi/a.png")
    touch(tmp_path, "ir/.DS_Store", "ir/.hidden.png", "vi/notes.txt")
    pairs, problems = find_pairs(tmp_path / "ir", tmp_path / "vi")
    assert [(p.stem, p.ir.name, p.vi.name) for p in pairs] == [
        ("a", "a.tif", "a.png"),
        ("b", "b.png", "b.JPG"),
    ]
    assert not problems


def test_partners_missing_and_stems_twice_are_problems_of_their_own(tmp_path: Path):
    touch(
        tmp_path,
        "ir/a.png",
        "vi/a.png",
        "ir/lone.png",
        "vi/other.png",
        "ir/two.png",
        "ir/two.jpg",
        "vi/two.png",
    )
    pairs, problems = find_pairs(tmp_path / "ir", tmp_path / "vi")
    assert [p.stem for p in pairs] == ["a"]
    reasons = {p.stem: p.reason for p in problems}
    assert set(reasons) == {"lone", "other", "two"}
    assert "ir/lone.png has no partner" in reasons["lone"] and "vi holds no image" in reasons["lone"]
    assert "vi/other.png has no partner" in reasons["other"]
    assert "two.jpg" in reasons["two"] and "two.png" in reasons["two"]


names = st.sampled_from(["a", "b", "B", "c.d", "e f", "ü", "u\u0308"])
suffixes = st.sampled_from([".png", ".PNG", ".jpg", ".tiff", ".txt"])
listing = st.sets(st.tuples(names, suffixes), min_size=1, max_size=8)


@given(listing, listing)
def test_every_image_is_in_a_pair_or_in_a_problem(ir: set[tuple[str, str]], vi: set[tuple[str, str]]):
    """Nothing is dropped without a word, nothing is taken twice, and only what has one partner is a pair."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side, files in (("ir", ir), ("vi", vi)):
            touch(root, *(f"{side}/{stem}{suffix}" for stem, suffix in files))
        images = [
            [
                unicodedata.normalize("NFC", p.stem)
                for p in sorted((root / side).iterdir())
                if p.suffix != ".txt"
            ]
            for side in ("ir", "vi")
        ]
        wanted = {stem for stem in images[0] if images[0].count(stem) == images[1].count(stem) == 1}
        if not wanted:
            with pytest.raises(InputError):
                find_pairs(root / "ir", root / "vi")
            return
        pairs, problems = find_pairs(root / "ir", root / "vi")
        assert [pair.stem for pair in pairs] == sorted(wanted)
        assert {problem.stem for problem in problems} == {*images[0], *images[1]} - wanted
        for pair in pairs:
            assert pair.ir.parent.name == "ir" and pair.vi.parent.name == "vi"
            assert {unicodedata.normalize("NFC", path.stem) for path in (pair.ir, pair.vi)} == {pair.stem}


def test_folders_missing_or_empty(tmp_path: Path):
    with pytest.raises(InputError, match="ir is not a folder"):
        find_pairs(tmp_path / "ir", tmp_path / "vi")
    touch(tmp_path, "ir/a.png")
    (tmp_path / "vi").mkdir()
    with pytest.raises(InputError, match="vi holds no image"):
        find_pairs(tmp_path / "ir", tmp_path / "vi")


def test_sizes_that_differ_or_are_too_small(tmp_path: Path):
    make_pair(tmp_path, "a", (64, 80))
    make_pair(tmp_path, "small", (31, 64))
    Image.linear_gradient("L").resize((80, 60)).save(tmp_path / "vi/a.png")
    with pytest.raises(PairError, match=r"80x64 and .*80x60; register"):
        load_pair(PairFiles("a", (tmp_path / "ir/a.png", tmp_path / "vi/a.png")))
    with pytest.raises(PairError, match="smallest side possible is 32"):
        load_pair(PairFiles("small", (tmp_path / "ir/small.png", tmp_path / "vi/small.png")))


sides = st.integers(32, 100)


@given(sides, sides)
def test_cropping_keeps_the_upper_left(height: int, width: int):
    image = np.arange(height * width).reshape(height, width)
    out = fit(image, "crop")
    assert out.shape == fitted_size((height, width), "crop") == output_size((height, width), "crop")
    assert all(side % MULTIPLE == 0 for side in out.shape)
    assert 0 <= height - out.shape[0] < MULTIPLE and 0 <= width - out.shape[1] < MULTIPLE
    np.testing.assert_array_equal(out, image[: out.shape[0], : out.shape[1]])


@given(sides, sides, st.sampled_from([(), (3,)]))
def test_padding_reflects_and_cuts_back(height: int, width: int, channels: tuple[int, ...]):
    image = np.random.default_rng(0).random((height, width, *channels))
    out = fit(image, "pad")
    assert out.shape[:2] == fitted_size((height, width), "pad")
    assert all(side % MULTIPLE == 0 for side in out.shape[:2])
    assert 0 <= out.shape[0] - height < MULTIPLE and 0 <= out.shape[1] - width < MULTIPLE
    np.testing.assert_array_equal(out[:height, :width], image)
    rows, columns = out.shape[0] - height, out.shape[1] - width
    np.testing.assert_array_equal(out[height:, :width], image[height - 1 - rows : height - 1][::-1])
    np.testing.assert_array_equal(out[:height, width:], image[:, width - 1 - columns : width - 1][:, ::-1])
    assert output_size((height, width), "pad") == (height, width)
