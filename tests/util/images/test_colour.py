"""Colour of the results: which source gives it, and what luma, hue and chroma come out."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.color import rgb2xyz

import sample
from tests.conftest import make_pair
from util.images.colour import (
    ColourMethod,
    ColourMode,
    colour_source,
    colourise,
    keep_hue,
    substitute_luma,
)
from util.images.image_io import grey_from_rgb
from util.images.oklab import oklab

# OKLab from CIE XYZ, as published: another way than util.images.oklab's, which starts from linear sRGB.
XYZ_TO_CONES = np.array(
    [
        [0.8189330101, 0.3618667424, -0.1288597137],
        [0.0329845436, 0.9293118715, 0.0361456387],
        [0.0482003018, 0.2643662691, 0.6338517070],
    ]
)
CONES_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
SIZE = (6, 7)
LUMAS = arrays(np.uint8, SIZE)
COLOURS = arrays(np.uint8, (*SIZE, 3))
METHODS = get_args(ColourMethod)


def reference_oklab(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (..., 3) OKLab, through scikit-image's CIE XYZ."""
    return np.cbrt(rgb2xyz(rgb) @ XYZ_TO_CONES.T) @ CONES_TO_LAB.T


def hue_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Degrees between the OKLab hues of two (..., 3) uint8 images."""
    (_, a1, b1), (_, a2, b2) = (np.moveaxis(reference_oklab(x), -1, 0) for x in (a, b))
    return np.abs(np.degrees(np.arctan2(a1 * b2 - b1 * a2, a1 * a2 + b1 * b2)))


def chroma(rgb: np.ndarray) -> np.ndarray:
    """|(Cb, Cr)| of full-range BT.601, in levels."""
    colours = rgb.astype(float)
    y = colours @ [0.299, 0.587, 0.114]
    return np.hypot((colours[..., 2] - y) / 1.772, (colours[..., 0] - y) / 1.402)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Every luma in steps of 17 with colours of the whole cube in steps of 51: (16, 216) and (16, 216, 3)."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    lumas = np.arange(0, 256, 17, dtype=np.uint8)[:, None]
    shape = (lumas.shape[0], colours.shape[1])
    return np.broadcast_to(lumas, shape).copy(), np.broadcast_to(colours, (*shape, 3)).copy()


def source(coloured: bool, tone: int) -> np.ndarray | None:
    return np.full((4, 4, 3), tone, np.uint8) if coloured else None


@pytest.mark.parametrize(
    "mode, ir, vi, expected",
    [
        ("auto", False, True, "vi"),
        ("auto", True, False, "ir"),
        ("auto", True, True, "vi"),
        ("auto", False, False, None),
        ("ir", True, True, "ir"),
        ("vi", True, False, None),
        ("off", True, True, None),
        (1, True, True, "ir"),
        (2, True, False, None),
    ],
)
def test_source_of_the_colour(mode: ColourMode | int, ir: bool, vi: bool, expected: str | None):
    chosen = colour_source([source(ir, 10), source(vi, 20)], mode)
    assert (None if chosen is None else {10: "ir", 20: "vi"}[int(chosen[0, 0, 0])]) == expected


def test_several_colours_are_averaged_by_their_weights():
    """Those of 10, a grey one and 30, by 0, 0, 1 above and 1/3 each below; rounded."""
    weights = np.repeat(np.array([[0, 1 / 3], [0, 1 / 3], [1, 1 / 3]])[..., None], 4, axis=2)
    rgbs = [np.full((2, 4, 3), 10, np.uint8), None, np.full((2, 4, 3), 30, np.uint8)]
    mean = colour_source(rgbs, "auto", weights)
    assert mean is not None and mean.dtype == np.uint8
    assert mean[..., 0].tolist() == [[30] * 4, [20] * 4]
    alone = colour_source([None, rgbs[0], None], "auto", weights)
    assert alone is rgbs[0]  # whatever its weight: the others have no colour to give
    assert colour_source(rgbs, 1, weights) is rgbs[0] and colour_source(rgbs, "off", weights) is None


@given(LUMAS, COLOURS)
def test_luma_of_the_result_is_the_fused_luma(luma: np.ndarray, rgb: np.ndarray):
    """Exactly, after rounding, however far the luma moves: so nothing was clipped either."""
    np.testing.assert_array_equal(grey_from_rgb(keep_hue(luma, rgb)), luma)


@given(COLOURS)
def test_own_luma_gives_the_same_colours(rgb: np.ndarray):
    np.testing.assert_array_equal(keep_hue(grey_from_rgb(rgb), rgb), rgb)


@given(COLOURS, st.sampled_from([-1, 1]))
def test_a_small_change_of_luma_is_a_small_change_of_colour(rgb: np.ndarray, step: int):
    """There is no jump beside the unchanged colours: at the edge of the gamut, a step of one level and the half
    that was rounded cost (1 + 0.5) / 0.114 levels of blue, and one for rounding."""
    luma = grey_from_rgb(rgb).astype(int)
    near = np.clip(luma + step, 0, 255).astype(np.uint8)
    change = np.abs(keep_hue(near, rgb).astype(int) - rgb)
    assert change.max() <= 14


@pytest.mark.parametrize("method", METHODS)
@given(luma=LUMAS, grey=LUMAS)
def test_grey_stays_grey(method: ColourMethod, luma: np.ndarray, grey: np.ndarray):
    out = colourise(luma, np.stack([grey] * 3, axis=-1), method)
    np.testing.assert_array_equal(out, np.stack([luma] * 3, axis=-1))


@pytest.mark.parametrize("extreme", [0, 255])
@given(rgb=COLOURS)
def test_black_and_white_are_neutral(extreme: int, rgb: np.ndarray):
    """Unless the colour has that luma already, such as (0, 0, 4)."""
    out = keep_hue(np.full(SIZE, extreme, np.uint8), rgb)
    assert (out[grey_from_rgb(rgb) != extreme] == extreme).all()


def test_hue_is_kept_over_the_whole_gamut():
    """Rounding to 8 bits turns pale and dark colours; of the others hardly one by more than two degrees."""
    luma, rgb = grid()
    out = keep_hue(luma, rgb)
    difference = hue_difference(rgb, out)[(chroma(rgb) > 1) & (chroma(out) > 10)]
    assert difference.size > 1500
    assert difference.mean() < 0.5 and np.percentile(difference, 99) < 2 and difference.max() < 6
    plain = hue_difference(rgb, substitute_luma(luma, rgb))[(chroma(rgb) > 1) & (chroma(out) > 10)]
    assert plain.mean() > 10 * difference.mean()


def test_dark_blue_does_not_turn_violet():
    blue = np.array([[[0, 0, 128]]], np.uint8)
    bright = np.array([[200]], np.uint8)
    np.testing.assert_array_equal(substitute_luma(bright, blue), [[[185, 185, 255]]])
    red, green, _ = keep_hue(bright, blue)[0, 0].astype(int)
    assert green > red + 15
    assert hue_difference(blue, keep_hue(bright, blue)).item() < 1
    assert hue_difference(blue, substitute_luma(bright, blue)).item() > 15


@given(LUMAS, COLOURS)
def test_chroma_is_never_more_than_the_source_has(luma: np.ndarray, rgb: np.ndarray):
    """In proportion to the luma where that falls; 1.1 levels are for rounding."""
    ratio = luma / np.maximum(rgb @ np.array([0.299, 0.587, 0.114]), 1e-6)
    moved = luma != grey_from_rgb(rgb)
    excess = chroma(keep_hue(luma, rgb)) - chroma(rgb) * np.minimum(1, ratio)
    assert excess[moved].max(initial=0) <= 1.1


def test_chroma_is_kept_where_the_gamut_has_room():
    rng = np.random.default_rng(0)
    rgb = rng.integers(90, 160, (60, 60, 3), dtype=np.uint8)
    luma = rng.integers(80, 170, (60, 60), dtype=np.uint8)
    wanted = chroma(rgb) * np.minimum(1, luma / grey_from_rgb(rgb))
    assert np.abs(chroma(keep_hue(luma, rgb)) - wanted).max() <= 1.3


def test_chroma_reaches_the_edge_of_the_gamut():
    """What has less chroma than it should have touches 0 or 255, but for rounding."""
    luma, rgb = grid()
    out = keep_hue(luma, rgb).astype(int)
    short = chroma(out) < chroma(rgb) * np.minimum(1, luma / np.maximum(grey_from_rgb(rgb), 1)) - 2
    at_edge = (out.min(axis=-1) <= 1) | (out.max(axis=-1) >= 254)
    assert short.sum() > 500 and at_edge[short].all()


def test_pieces_do_not_matter():
    """An image larger than what is worked on at a time gives what its rows give."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (150, 200, 3), dtype=np.uint8)
    luma = rng.integers(0, 256, (150, 200), dtype=np.uint8)
    rows = [keep_hue(luma[i : i + 1], rgb[i : i + 1]) for i in range(len(luma))]
    whole = keep_hue(luma, rgb).astype(int)
    assert np.abs(whole - np.concatenate(rows)).max() <= 1  # sums in another order


def test_plain_substitution_keeps_luma_and_chroma_inside_the_gamut():
    rng = np.random.default_rng(0)
    rgb = rng.integers(90, 160, (40, 40, 3), dtype=np.uint8)
    luma = rng.integers(80, 170, (40, 40), dtype=np.uint8)
    out = colourise(luma, rgb, "ycbcr")
    assert np.abs(grey_from_rgb(out).astype(int) - luma).max() <= 1
    assert np.abs(chroma(out) - chroma(rgb)).max() <= 1.1
    own = colourise(grey_from_rgb(rgb), rgb, "ycbcr")
    assert np.abs(own.astype(int) - rgb).max() <= 2  # luma is rounded before, the channels after


def test_sizes_that_differ_are_an_error():
    with pytest.raises(ValueError, match=r"\(4, 5\), but the colours are \(5, 4\)"):
        colourise(np.zeros((4, 5), np.uint8), np.zeros((5, 4, 3), np.uint8), "oklab")


def test_oklab_agrees_with_the_way_through_xyz():
    rgb = np.random.default_rng(0).integers(0, 256, (5000, 3), dtype=np.uint8)
    rgb[0], rgb[1] = 0, 255
    assert np.abs(oklab(rgb.T).T - reference_oklab(rgb)).max() < 1e-3  # the two published matrices differ


def test_another_method_makes_the_result_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_pair(tmp_path / "input", "a", colour="vi")
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 2\n")
    line = ["--diffusion_config", str(tmp_path / "diffusion.yaml"), "--device", "cpu"]
    line += ["--input", str(tmp_path / "input"), "--save_dir", str(tmp_path / "output")]
    source = np.asarray(Image.open(tmp_path / "input/vi/a.png"))
    for method in (*METHODS, METHODS[-1]):
        config = tmp_path / "fusion.yaml"
        config.write_text(yaml.safe_dump({"prior": False, "color_method": method}))
        assert sample.main([*line, "--fusion_config", str(config)]) == 0
        luma = np.asarray(Image.open(tmp_path / "output/recon/a.png"))
        colour = np.asarray(Image.open(tmp_path / "output/color/a.png"))
        np.testing.assert_array_equal(colour, colourise(luma, source, method))
    assert [text.split(",")[0] for text in capsys.readouterr().out.splitlines() if " fused" in text] == [
        "1 fused",
        "1 fused",
        "0 fused",
    ]
