"""Colour of the results: which source gives it, and what luma comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from util.colour import ColourMode, colour_source, substitute_luma
from util.image_io import SourceImage, grey_from_rgb
from util.pairs import Pair


def source(coloured: bool, tone: int) -> SourceImage:
    rgb = np.full((4, 4, 3), tone, np.uint8)
    return SourceImage(Path("a.png"), rgb[..., 0], rgb if coloured else None, "")


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
    ],
)
def test_source_of_the_colour(mode: ColourMode, ir: bool, vi: bool, expected: str | None):
    pair = Pair("a", source(ir, 10), source(vi, 20))
    chosen = colour_source(pair, mode)
    assert (None if chosen is None else {10: "ir", 20: "vi"}[int(chosen[0, 0, 0])]) == expected


def test_luma_of_the_result_is_the_fused_luma():
    """Within a level, the rounding of three channels, where no channel leaves the gamut."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(90, 160, (40, 40, 3), dtype=np.uint8)
    luma = rng.integers(80, 170, (40, 40), dtype=np.uint8)
    out = substitute_luma(luma, rgb)
    assert np.abs(grey_from_rgb(out).astype(int) - luma).max() <= 1


def test_own_luma_gives_the_same_colours():
    """Within two levels: luma is rounded before, the channels after."""
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.abs(substitute_luma(grey_from_rgb(rgb), rgb).astype(int) - rgb).max() <= 2


def test_grey_stays_grey():
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    out = substitute_luma(luma, np.full((16, 16, 3), 77, np.uint8))
    np.testing.assert_array_equal(out, np.stack([luma] * 3, axis=-1))
