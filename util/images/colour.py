"""Giving the fused luma the colour of the source that has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from util.images.image_io import grey_from_rgb
from util.images.oklab import oklab

ColourMode = Literal["auto", "vi", "ir", "off"]
ColourMethod = Literal["oklab", "ycbcr"]

# Full-range BT.601 (JPEG): Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402
_CB_SCALE, _CR_SCALE = 1.772, 1.402
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114

_CHUNK = 16384  # pixels at a time, so that the planes at work stay in the cache
_LEAST = 1e-3  # weight of a source in colour, where a grey one has all of it
_TURNS = 2  # of the secant rule; leave 0.03 degrees on average, 0.5 in one pixel of a hundred
_SLOPES = (0.4, 3.0)  # between these the OKLab hue changes with the Cb/Cr angle, nearly everywhere

Plane = NDArray[np.float32]


def colour_source(
    rgbs: Sequence[np.ndarray | None], mode: ColourMode | int = "auto", weights: np.ndarray | None = None
) -> np.ndarray | None:
    """The (H, W, 3) uint8 colours that a result takes, or None for a grey result.

    ``rgbs``: of each source, (H, W, 3) uint8 or None where it is grey. ``auto``: those of the last in colour, which
    is the visible image of a pair if it has some (else PET, SPECT); or with ``weights``, (N, H, W) and at least 0,
    the mean of all in colour by these. ``ir``, ``vi``: the first or second of two; a number: that source, from 1.
    """
    if mode == "off":
        return None
    if mode != "auto":
        number = {"ir": 1, "vi": 2}.get(mode, 0) if isinstance(mode, str) else mode
        return rgbs[number - 1]
    coloured = [(place, rgb) for place, rgb in enumerate(rgbs) if rgb is not None]
    if not coloured:
        return None
    if weights is None or len(coloured) == 1:
        return coloured[-1][1]
    shares = [weights[place].astype(np.float32)[..., None] + _LEAST for place, _ in coloured]
    total = np.sum(shares, axis=0)
    mean = np.sum([share / total * rgb for share, (_, rgb) in zip(shares, coloured, strict=True)], axis=0)
    return np.rint(mean).astype(np.uint8)


def colourise(luma: np.ndarray, rgb: np.ndarray, method: ColourMethod) -> np.ndarray:
    """(H, W) uint8 fused luma and (H, W, 3) uint8 colours -> (H, W, 3) uint8 with that luma.

    ``oklab``: :func:`keep_hue`; ``ycbcr``: :func:`substitute_luma`. Raises ValueError where the sizes differ.
    """
    if luma.shape != rgb.shape[:2]:
        raise ValueError(f"the luma is {luma.shape}, but the colours are {rgb.shape[:2]}")
    return keep_hue(luma, rgb) if method == "oklab" else substitute_luma(luma, rgb)


def substitute_luma(luma: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Plain YCbCr substitution: Cb and Cr of ``rgb`` (full-range BT.601) are kept, values are clipped to gamut.

    Arguments and result as in :func:`colourise`. Where values are clipped, luma and hue are not those asked for.
    """
    colours = rgb.astype(np.float64)
    y = colours @ np.array([_RED, _GREEN, _BLUE])
    cb, cr = (colours[..., 2] - y) / _CB_SCALE, (colours[..., 0] - y) / _CR_SCALE
    fused = luma.astype(np.float64)
    red, blue = fused + _CR_SCALE * cr, fused + _CB_SCALE * cb
    green = (fused - _RED * red - _BLUE * blue) / _GREEN
    return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255).astype(np.uint8)


def keep_hue(luma: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Replace the luma at constant OKLab hue, inside the gamut; arguments and result as in :func:`colourise`.

    The luma of the result, rounded, is ``luma`` exactly. A pixel that has this luma already is not changed,
    grey stays grey. The chroma |(Cb, Cr)| is that of ``rgb``, less in proportion where the luma falls (the
    saturation is kept), never more (noise is not amplified), and cut back to what the gamut holds.
    """
    moved = (luma != grey_from_rgb(rgb)).ravel()
    wanted, planes = luma.ravel(), np.ascontiguousarray(rgb.reshape(-1, 3).T)
    grey = (planes[0] == planes[1]) & (planes[1] == planes[2])
    turned, grey = moved & ~grey, moved & grey
    out = planes.copy()
    for start in range(0, len(wanted), _CHUNK):
        part = slice(start, start + _CHUNK)
        chosen = turned[part]
        if not chosen.any():
            continue
        every = slice(None) if chosen.all() else chosen
        colours = planes[:, part][:, every].astype(np.float32)
        out[:, part][:, every] = _turn(wanted[part][every].astype(np.float32), colours)
    np.copyto(out, wanted, where=grey)
    return np.ascontiguousarray(out.T).reshape(rgb.shape)


def _turn(y: Plane, rgb: Plane) -> np.ndarray:
    """(N,) wanted luma and (3, N) colours, none of them grey -> (3, N) uint8.

    In the plane of constant luma the angle of (Cb, Cr) is sought at which the OKLab hue is that of ``rgb``.
    """
    own = np.float32(_RED) * rgb[0] + np.float32(_GREEN) * rgb[1] + np.float32(_BLUE) * rgb[2]
    cb, cr = (rgb[2] - own) / np.float32(_CB_SCALE), (rgb[0] - own) / np.float32(_CR_SCALE)
    chroma = np.sqrt(cb * cb + cr * cr) * np.minimum(1, y / own)
    angle = np.arctan2(cr, cb)
    _, a, b = oklab(rgb)
    own_length = a * a + b * b
    slope, turn, before = np.float32(1), np.zeros_like(y), np.zeros_like(y)
    for index in range(_TURNS):
        _, a_now, b_now = oklab(_at_angle(y, chroma, angle))
        # the sine of the hue difference, which is quicker than the angle and as good
        lengths = np.sqrt(own_length * (a_now * a_now + b_now * b_now))
        error = (a * b_now - b * a_now) / np.maximum(lengths, np.float32(1e-12))
        if index:
            measured = np.divide(error - before, turn, out=np.ones_like(turn), where=np.abs(turn) > 1e-4)
            slope = np.clip(measured, *_SLOPES)
        turn, before = -error / slope, error
        angle += turn
    # Channels within half a level of what they should be have a luma within half a level: it rounds to y.
    return np.rint(_at_angle(y, chroma, angle)).astype(np.uint8)


def _at_angle(y: Plane, chroma: Plane, angle: Plane) -> Plane:
    """The (3, N) colours of luma ``y`` in a direction of the Cb/Cr plane, ``chroma`` or the gamut's edge away."""
    red, blue = np.float32(_CR_SCALE) * np.sin(angle), np.float32(_CB_SCALE) * np.cos(angle)
    green = -(np.float32(_RED) * red + np.float32(_BLUE) * blue) / np.float32(_GREEN)
    direction = np.stack([red, green, blue])
    room = np.where(direction > 0, 255 - y, y) / np.maximum(np.abs(direction), np.float32(1e-6))
    reach = np.minimum(chroma, room.min(axis=0))
    direction *= reach
    direction += y
    return np.clip(direction, 0, 255, out=direction)  # the edge is met but for rounding errors
