"""The shipped pairs: right form, the same every time, and worth fusing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tools.make_sample_pairs import main
from tools.sample_scenes import SCENES, SEED, Pair

INPUT = Path(__file__).parents[2] / "input"
SIZES = {
    "night_street": (256, 352),
    "smoke": (260, 340),
    "daylight": (250, 330),
    "mri_ct": (256, 256),
    "mri_pet": (256, 256),
}
THERMAL = ("night_street", "smoke", "daylight")


@cache
def made(stem: str) -> Pair:
    return SCENES[stem](SEED)


def grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(Image.fromarray(image).convert("L"), np.float64)


def stands_out(image: NDArray[np.uint8], cover: NDArray[np.float32]) -> float:
    """Grey levels by which what ``cover`` marks is brighter than the ring of 4 pixels round it."""
    inside = cover > 0.9
    near, far = (np.asarray(ndimage.binary_dilation(cover > 0, iterations=n), bool) for n in (1, 5))
    ring = far & ~near
    return grey(image)[inside].mean() - grey(image)[ring].mean()


def test_every_scene_has_a_size_here() -> None:
    assert SIZES.keys() == SCENES.keys()
    assert sum(bool(h % 32 or w % 32) for h, w in SIZES.values()) >= 2


@pytest.mark.parametrize("stem", SCENES)
def test_shapes_and_types(stem: str) -> None:
    pair = made(stem)
    colour_vi, colour_ir = stem in THERMAL, stem == "mri_pet"
    assert pair.vi.shape == SIZES[stem] + (3,) * colour_vi
    assert pair.ir.shape == SIZES[stem] + (3,) * colour_ir
    assert pair.vi.dtype == pair.ir.dtype == np.uint8
    assert all(mark.shape == SIZES[stem] for mark in pair.marks.values())


@pytest.mark.parametrize("stem", SCENES)
def test_same_seed_gives_the_same_pictures(stem: str) -> None:
    again = SCENES[stem](SEED)
    assert np.array_equal(again.vi, made(stem).vi)
    assert np.array_equal(again.ir, made(stem).ir)


def test_another_seed_gives_another_picture() -> None:
    assert not np.array_equal(SCENES["mri_ct"](SEED + 1).ir, made("mri_ct").ir)


@pytest.mark.parametrize("stem", SCENES)
def test_modalities_complement_each_other(stem: str) -> None:
    pair = made(stem)
    vi, ir = grey(pair.vi), grey(pair.ir)
    assert vi.std() > 15
    assert ir.std() > 15
    body = (vi > 20) | (ir > 20)  # the black round a head agrees in both and says nothing
    assert np.corrcoef(vi[body], ir[body])[0, 1] < 0.6


@pytest.mark.parametrize("stem", THERMAL)
def test_people_glow_in_the_thermal_picture_only(stem: str) -> None:
    pair = made(stem)
    people = pair.marks["people"]
    assert (people > 0.9).sum() > 300
    assert stands_out(pair.ir, people) > 60
    assert stands_out(pair.vi, people) < 10


def test_bone_is_bright_in_ct_and_fluid_in_mri() -> None:
    pair = made("mri_ct")
    bone, fluid = pair.marks["table"] > 0.9, pair.marks["csf"] > 0.9
    assert grey(pair.ir)[bone].mean() > 200 > 60 > grey(pair.vi)[bone].mean()
    assert grey(pair.vi)[fluid].mean() > 180 > 60 > grey(pair.ir)[fluid].mean()


def test_the_hot_spot_is_red_in_pet_and_unseen_in_mri() -> None:
    pair = made("mri_pet")
    spot = pair.marks["hot spot"] > 0.9
    red, _, blue = pair.ir[spot].mean(axis=0)
    assert red > 200 > 60 > blue
    assert abs(stands_out(pair.vi, pair.marks["hot spot"])) < 25


@pytest.mark.parametrize("stem", SCENES)
@pytest.mark.parametrize("folder", ["vi", "ir"])
def test_shipped_files_are_what_the_generator_makes(stem: str, folder: str) -> None:
    path = INPUT / folder / f"{stem}.png"
    shipped = np.asarray(Image.open(path), np.float64)
    expected = getattr(made(stem), folder)
    assert shipped.shape == expected.shape
    # Other library versions may round noise and filters differently, at single pixels by much.
    assert np.abs(shipped - expected).mean() < 3, f"{path} is stale: run python -m tools.make_sample_pairs"


def test_command_line_writes_both_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path), "--only", "mri_ct"])
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert written == ["ir/mri_ct.png", "vi/mri_ct.png"]
    assert len(capsys.readouterr().out.splitlines()) == 2
