"""Noise of the chroma: found and taken away, none on clean colours; the filter against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ddfm
from guided_diffusion.denoising.chroma_noise import WINDOW, clean_all_colours, clean_colours, guided
from guided_diffusion.neumann import blur

SIGMA = 20.0


def scene() -> np.ndarray:
    """Soft colours with a red square whose luma is that of what it lies on; (96, 128, 3) uint8, not clipped."""
    draw = torch.randn((1, 3, 96, 128), generator=torch.Generator().manual_seed(0))
    soft = 120 + 300 * blur(draw, 8.0)[0].permute(1, 2, 0).numpy()
    soft[30:60, 40:90] += np.array([50.0, -25.466, 0.0])  # 0.299 * 50 = 0.587 * 25.466
    return np.clip(np.rint(soft), 70, 185).astype(np.uint8)


def noisy(rgb: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(1).standard_normal(rgb.shape)
    return np.clip(np.rint(rgb + SIGMA * drawn), 0, 255).astype(np.uint8)


def chroma(rgb: Any) -> np.ndarray:
    """(B - Y, R - Y)."""
    levels = rgb.astype(float)
    y = levels @ np.array([0.299, 0.587, 0.114])
    return np.stack([levels[..., 2] - y, levels[..., 0] - y])


def rms(difference: Any) -> float:
    return float(np.sqrt((difference**2).mean()))


def grey(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb.astype(float) @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def test_noise_goes_and_an_edge_of_colour_alone_stays() -> None:
    """A window of 4 pixels averages about 200: noise falls by much more than 3; a square without an edge in the
    guide keeps three quarters of its difference in colour."""
    clean = scene()
    found = clean_colours(noisy(clean), grey(clean))
    assert rms(chroma(found) - chroma(clean)) < rms(chroma(noisy(clean)) - chroma(clean)) / 3
    inside, outside = np.s_[1, 36:54, 46:84], np.s_[1, 36:54, 96:120]
    kept, whole = (chroma(each)[inside].mean() - chroma(each)[outside].mean() for each in (found, clean))
    assert kept > 0.75 * whole


def test_clean_colours_and_grey_are_returned_as_they_are() -> None:
    clean = scene()
    assert clean_colours(clean, grey(clean)) is clean
    flat = np.repeat(noisy(clean)[..., :1], 3, axis=2)  # noise of the luma alone is no noise of colours
    assert clean_colours(flat, flat[..., 0]) is flat
    with pytest.raises(ValueError, match="guide"):
        clean_colours(clean, grey(clean)[1:])


def test_the_line_is_the_ridge_regression_of_each_window() -> None:
    """Where a plane is a line of the guide plus noise too weak to be kept, against the sums written out: one pixel
    of the double average by hand. Float32 sums of 169 products of levels: relative 1e-4."""
    generator = torch.Generator().manual_seed(3)
    guide = torch.rand((1, 1, 40, 44), generator=generator) * 200
    plane = 0.3 * guide - 20
    sigma = torch.full((1, 1, 1, 1), 12.0)
    found = guided(plane, guide, sigma)[0, 0, 20, 22]
    window, radius = np.outer(WINDOW, WINDOW), len(WINDOW) // 2
    x, y = (np.pad(each[0, 0].numpy().astype(float), 30, mode="symmetric") for each in (guide, plane))
    slopes, offsets = np.zeros_like(window), np.zeros_like(window)
    for row, column in np.ndindex(window.shape):
        top, left = 50 + row - radius - radius, 52 + column - radius - radius
        xs, ys = (each[top : top + len(window), left : left + len(window)] for each in (x, y))
        mean_x, mean_y = (window * xs).sum(), (window * ys).sum()
        variance, covariance = (
            (window * xs * xs).sum() - mean_x**2,
            (window * xs * ys).sum() - mean_x * mean_y,
        )
        slopes[row, column] = covariance / (variance + 12.0**2 / 4)
        offsets[row, column] = mean_y - slopes[row, column] * mean_x
    expected = (window * slopes).sum() * x[50, 52] + (window * offsets).sum()
    assert float(found) == pytest.approx(expected, rel=1e-3, abs=0.05)


def test_the_door_frees_colours_where_noise_is_asked_about() -> None:
    """Without a prior: its luma keeps the noise, its colours lose theirs; ``off`` changes nothing."""
    clean = scene()
    infrared = np.full(clean.shape[:2], 90, np.uint8)
    infrared[20:50, 20:50] = 160
    plain = ddfm.fuse(None, [infrared, noisy(clean)], rectification="local_fast")
    freed = ddfm.fuse(None, [infrared, noisy(clean)], rectification="local_fast", noise="auto")
    reference = ddfm.fuse(None, [infrared, clean], rectification="local_fast")
    before, after = (rms(chroma(each.color) - chroma(reference.color)) for each in (plain, freed))
    assert after < before / 2
    same = ddfm.fuse(None, [infrared, clean], rectification="local_fast", noise="auto")
    assert same.color is not None
    assert np.array_equal(same.color, np.asarray(reference.color))


def test_a_source_told_to_be_clean_keeps_its_colours() -> None:
    rgb, guide = noisy(scene()), grey(scene())
    assert clean_all_colours([None, rgb], "off", guide)[1] is rgb
    assert clean_all_colours([rgb, rgb], [0.0, 12.0], guide)[0] is rgb
    freed = clean_all_colours([None, rgb], [0.0, 12.0], guide)
    assert freed[0] is None
    assert np.array_equal(np.asarray(freed[1]), clean_colours(rgb, guide))
