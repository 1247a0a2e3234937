"""Registration: known displacements are found again, what is not believed is not used, and what is said of it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import ddfm
import sample
from tests.conftest import make_pair
from tools.measure_registration import displacement, distance
from util.images.image_io import read_image
from util.images.registration.applying import bring_onto
from util.images.registration.placement import FEATHER, Registration, continued, measure_shift, overlap, warp
from util.images.registration.refining import direction_maps, refine
from util.images.registration.search import RegistrationError, can_register, check_register, register

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("DDFM_DATA", "nowhere"))
needs_itk = pytest.mark.skipif(
    not can_register(), reason="SimpleITK is not installed (requirements-register.txt)"
)
KNOWN: dict[str, tuple[tuple[float, float], float, float]] = {
    "shift": ((7, -4), 1.0, 0.0),
    "scale": ((7, -4), 1.03, 0.0),
    "turn": ((-5, 3), 0.98, 2.0),
}


def pair_of(folder: Path, stem: str) -> list[np.ndarray]:
    return [read_image(next((folder / side).glob(f"{stem}.*"))).luma for side in ("ir", "vi")]


def size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def found_again(ir: np.ndarray, vi: np.ndarray, known: str, mode: Any = "affine") -> float:
    """How far the second registration is from the first, in pixels."""
    displaced = displacement(size(ir), *KNOWN[known])
    first, second = register(ir, vi, mode), register(warp(ir, displaced, size(ir)), vi, mode)
    return distance(size(vi), first, displaced, second)


@needs_itk
@pytest.mark.parametrize(
    ("stem", "known"),
    [("daylight", "turn"), ("mri_ct", "scale")],
)
def test_known_displacements_of_sample_pairs(stem: str, known: str):
    assert found_again(*pair_of(ROOT / "input", stem), known=known) < 0.5


@needs_itk
@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="DDFM_DATA names no folder of research pairs")
@pytest.mark.parametrize(
    ("name", "stem", "known", "mode"),
    [
        ("RoadScene", "FLIR_00211", "scale", "affine"),
        ("RoadScene", "FLIR_04688", "turn", "affine"),
        ("MRI_CT", "26", "scale", "affine"),
        ("MRI_PET", "20", "shift", "translation"),
    ],
)
def test_known_displacements_of_real_pairs(name: str, stem: str, known: str, mode: str):
    assert found_again(*pair_of(DATA / name, stem), known=known, mode=mode) < 0.5


def test_warping_by_a_known_map_moves_what_is_there():
    image = np.zeros((40, 60))
    image[20, 30] = 200.0
    moved = warp(image, displacement((40, 60), (5, -3), 1.0, 0.0), (40, 60))
    assert np.unravel_index(moved.argmax(), moved.shape) == (17, 35)
    assert moved[17, 35] == pytest.approx(200, abs=1e-6)
    colour = warp(np.stack([image] * 3, axis=2), displacement((40, 60), (5, -3), 1.0, 0.0), (40, 60))
    assert np.array_equal(colour[..., 1], moved)


def test_beyond_the_overlap_is_the_reference_and_levels_meet_at_the_edge():
    inside = overlap(displacement((100, 100), (50, 0), 1.0, 0.0), (100, 100), (100, 100))
    assert not inside[:, :50].any() and inside[:, 50:].all()
    texture = np.random.default_rng(0).uniform(0, 4, (2, 100, 100))
    image, reference = texture[0] + 200, texture[1] + 40
    whole = continued(image, reference, inside)
    assert np.array_equal(whole[:, 50:], image[:, 50:])  # no frame inside
    assert np.array_equal(whole[:, :2], reference[:, :2])
    profile = whole.mean(axis=0)
    assert np.abs(np.diff(profile)).max() < 160 / FEATHER * 2 + 1


@pytest.mark.parametrize("shift", [(7, -4), (-12, 9)])
def test_phase_correlation_measures_shifts(shift: tuple[int, int]):
    ir, vi = pair_of(ROOT / "input", "daylight")
    moved = warp(ir, displacement(size(ir), shift, 1.0, 0.0), size(ir))
    assert measure_shift(moved, vi) == pytest.approx(shift, abs=1.0)


@needs_itk
def test_auto_leaves_what_fits_as_it_is(caplog: pytest.LogCaptureFixture):
    ir, vi = pair_of(ROOT / "input", "daylight")
    with caplog.at_level(logging.INFO, "ddfm"):
        found = bring_onto(ir, None, vi, "auto", "daylight")
    assert found.luma is ir and not found.outcome["used"] and found.inside.all()
    assert "daylight: not registered" in caplog.text


@needs_itk
def test_a_pair_without_anything_in_common_is_refused():
    generator = np.random.default_rng(0)
    ir, vi = generator.uniform(0, 255, (2, 96, 128))
    found = bring_onto(ir, None, vi, "affine", "noise")
    assert found.luma is ir and found.outcome["refused"]
    with pytest.raises(RegistrationError, match="noise: the images differ in size and cannot be registered"):
        bring_onto(ir[:80], None, vi, "affine", "noise")


@needs_itk
def test_sizes_that_differ_are_brought_together_from_files(tmp_path: Path):
    ir, vi = pair_of(ROOT / "input", "daylight")
    for side, image in (("ir", Image.fromarray(ir).resize((220, 167))), ("vi", Image.fromarray(vi))):
        (tmp_path / side).mkdir()
        image.save(tmp_path / side / "a.png")
    line = ["--input", str(tmp_path), "--preset", "local_fast", "--save_dir", str(tmp_path / "out")]
    assert sample.main(line) == 1  # off: the sizes differ
    assert sample.main([*line, "--register", "auto"]) == 0
    fused = Image.open(tmp_path / "out/recon/a.png")
    assert fused.size == vi.shape[::-1]
    told = json.loads(fused.text["ddfm"])["registration"][0]  # pyright: ignore[reportAttributeAccessIssue]
    assert told["used"] and told["matrix"][0][0] == pytest.approx(2 / 3, abs=0.01)


@needs_itk
def test_in_memory_the_fusion_is_of_the_visible_image_alone_outside_the_overlap():
    ir, vi = pair_of(ROOT / "input", "daylight")
    moved = warp(ir, displacement(size(ir), (64, 0), 1.0, 0.0), size(ir)) / 255
    moved = np.clip(moved, 0, 1)
    # the mirrored edge that warping has left is no part of the image
    fused = ddfm.fuse(
        None, [moved[:, 64:], vi / 255], rectification=ddfm.LocalFast(tone=0.0, task="ivf"), register="auto"
    )
    outcome = fused.provenance["registration"][0]
    assert outcome["used"] and outcome["offset"][0] == pytest.approx(0, abs=1)
    alone = ddfm.fuse(None, [vi / 255, vi / 255], rectification=ddfm.LocalFast(tone=0.0, task="ivf"))
    assert np.abs(fused.grey - alone.grey)[:, -12:].mean() * 255 < 2


def test_without_the_extra_auto_warns_and_the_rest_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    monkeypatch.setattr("util.images.registration.search.can_register", lambda: False)
    monkeypatch.setattr("util.images.registration.applying.can_register", lambda: False)
    ir, vi = pair_of(ROOT / "input", "daylight")
    moved = warp(ir, displacement(size(ir), (7, -4), 1.0, 0.0), size(ir))
    found = bring_onto(moved, None, vi, "auto", "street")
    assert found.luma is moved and "street: the images seem to be apart by (7." in caplog.text
    with pytest.raises(RegistrationError, match="SimpleITK, which is not installed: pip install"):
        bring_onto(ir[:100], None, vi, "auto", "street")
    make_pair(tmp_path, "a")
    line = ["--input", str(tmp_path), "--save_dir", str(tmp_path / "out"), "--preset", "local_fast"]
    assert sample.main([*line, "--register", "affine"]) == 2


@pytest.mark.parametrize("mode", ["elastic", ""])
def test_a_mode_that_is_not_known_is_refused(mode: str):
    with pytest.raises(RegistrationError, match="must be one of off, translation, affine, auto"):
        check_register(mode)
    with pytest.raises(ValueError, match="must be one of"):
        ddfm.fuse(None, [np.zeros((32, 32))] * 2, register=mode)  # pyright: ignore[reportArgumentType]


def test_a_registration_says_what_it_is():
    found = Registration(np.eye(2), np.zeros(2), "affine", 2.04, (0.1, 0.25))
    assert str(found) == "affine, misfit 2.0 pixels, information 0.100 -> 0.250"
    assert json.loads(json.dumps(found.describe()))["misfit"] == 2.04


def test_edges_are_told_by_how_they_run():
    rows, columns = np.mgrid[:48, :48]
    down, across, both = (
        direction_maps(np.where(half, 200.0, 20.0)) for half in (columns < 24, rows < 24, rows + columns < 48)
    )
    strongest = [maps[:, 24, 24] for maps in (down, across, both)]
    assert strongest[0][0] > 1 and strongest[1][1] > 1
    assert max(strongest[0][1], strongest[1][0], abs(strongest[0][2]), abs(strongest[1][2])) < 1e-3
    assert (
        strongest[2][0]
        == pytest.approx(strongest[2][1])
        == pytest.approx(strongest[2][2] / np.sqrt(2), rel=1e-3)
    )
    noise = np.random.default_rng(0).uniform(0, 255, (64, 64))
    assert 0 < (direction_maps(noise)[:2].sum(axis=0)).max() <= 3 + 1e-5


@needs_itk
def test_refining_finds_a_small_misfit_and_leaves_none_that_is_lost():
    fixed = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(160, 200)), 2.0)
    fixed = 255 * (fixed - fixed.min()) / np.ptp(fixed)
    known = displacement((160, 200), (1.5, -1.0), 1.01, 0.5)
    moving = 255 - warp(fixed, known, (160, 200))  # the other sensor sees warm as dark
    nothing = np.eye(2), np.zeros(2)
    (matrix, offset), (before, after) = refine(moving, fixed, [nothing])
    found = Registration(matrix, offset, "affine", 0.0, (0.0, 0.0))
    still = Registration(*nothing, "affine", 0.0, (0.0, 0.0))
    assert distance((160, 200), still, known, found) < 0.05
    assert after > 2 * before
    lost = np.eye(2), np.array([5000.0, 0.0])
    mapping, (nowhere, end) = refine(moving, fixed, [lost])
    assert mapping is lost and nowhere == end == 0
