"""The scale of a medical image: its own shades in their order, from low to high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree
from scipy.spatial.distance import cdist

_SHADES = 32
_CELL = 16  # levels: colours as near as this are one
_SHARE = 5e-4  # of the pixels that a colour must have
_COVERED = 0.9  # of the pixels that such colours must have together; noise and the like are no scale


@dataclass(frozen=True)
class Bar:
    """``shades``: RGB, 0 ... 255, from low to high; ``low``, ``high``: what stands at its ends."""

    shades: tuple[tuple[int, int, int], ...]
    low: str
    high: str

    def markup(self) -> str:
        """As HTML."""
        stops = ",".join(f"rgb({r} {g} {b})" for r, g, b in self.shades)
        return (
            f'<div class="ddfm-bar" role="img" aria-label="scale from {self.low} to {self.high}">'
            f'<i style="background:linear-gradient(90deg,{stops})"></i>'
            f"<span>{self.low}</span><span>{self.high}</span></div>"
        )


def bar_of(image: np.ndarray) -> Bar | None:
    """The scale of an (H, W) or (H, W, 3) uint8 image; None where its colours are no scale.

    Grey: its range of levels. In colour, as PET and SPECT are shown, a scale is a curve through the colours that need
    not become brighter all along (a rainbow does not). It begins with the colour of the surround, which half of the
    pixels at the edge of the image have, else with the darkest. Values change smoothly from pixel to pixel, so the
    colours that are there fill the curve: each is placed by its distance from the first along the minimum spanning
    tree of them all.
    """
    if image.ndim == 2:
        low, high = int(image.min()), int(image.max())
        return Bar(((low, low, low), (high, high, high)), str(low), str(high))
    cells, counts = np.unique(image.reshape(-1, 3) // _CELL, axis=0, return_counts=True)
    frequent = counts >= _SHARE * counts.sum()
    colours = (cells[frequent] + 0.5) * _CELL
    if len(colours) < 2 or counts[frequent].sum() < _COVERED * counts.sum():
        return None
    first = _surround(image, cells[frequent])
    if first is None:
        first = int((colours @ [0.299, 0.587, 0.114]).argmin())
    place = dijkstra(minimum_spanning_tree(cdist(colours, colours)), directed=False, indices=first)
    edges = np.linspace(0, place.max(), _SHADES + 1)
    shade = np.clip(np.searchsorted(edges, place, side="right") - 1, 0, _SHADES - 1)
    held = np.bincount(shade, minlength=_SHADES)
    filled = np.flatnonzero(held)
    means = [
        np.interp(np.arange(_SHADES), filled, np.bincount(shade, channel, _SHADES)[filled] / held[filled])
        for channel in colours.T
    ]
    shades = np.rint(np.stack(means, axis=1)).astype(int).tolist()
    return Bar(tuple((r, g, b) for r, g, b in shades), "low", "high")


def _surround(image: np.ndarray, cells: np.ndarray) -> int | None:
    """Which of ``cells`` half of the pixels at the edge of the image have, if one does."""
    edge = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]]) // _CELL
    shares = (edge[:, None] == cells[None]).all(axis=2).mean(axis=0)
    return int(shares.argmax()) if shares.max() >= 0.5 else None
