"""Large images: the network sees overlapping tiles, the sampler and EM see the whole.

Bar-Tal et al., "MultiDiffusion" (2023): in every step the outputs of the tiles are averaged where they overlap.
The weights fall smoothly to the edges of a tile, where its output knows least of what lies around.
"""

from __future__ import annotations

import functools
import math
from itertools import product

import torch
from torch import Tensor

from guided_diffusion.config import RuntimeConfig
from guided_diffusion.gaussian_diffusion import Model

GRID = 32
"""Tiles begin at multiples of this, so that a pixel always has the same place in the network's levels."""


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis of ``length``, multiples of :data:`GRID`, evenly spread.

    The last one ends with the axis, and neighbours share at least ``overlap``. Raises ValueError unless all three
    are multiples of GRID and 0 <= overlap < tile.
    """
    if length % GRID or tile % GRID or overlap % GRID or not 0 <= overlap < tile:
        raise ValueError(
            f"tiles of {tile} with overlap {overlap} on {length}: all must be multiples of {GRID}, and the "
            "overlap less than the tile"
        )
    if tile >= length:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round((length - tile) * number / (count - 1) / GRID) * GRID for number in range(count)]


def tile_window(start: int, tile: int, length: int, overlap: int) -> Tensor:
    """Weights (tile,) of a tile: 1, falling as a cosine to the sides that have a neighbour, never quite to 0."""
    distance = torch.arange(tile, dtype=torch.float32) + 0.5
    window = torch.ones(tile)
    ramp = max(1, overlap)
    if start > 0:
        window *= torch.sin(distance.div(ramp).clamp(max=1) * math.pi / 2) ** 2
    if start + tile < length:
        window *= torch.sin(distance.flip(0).div(ramp).clamp(max=1) * math.pi / 2) ** 2
    return window


class TiledModel:
    """A :data:`Model` for images of any size from one for tiles; memory grows with the tile, not with the image.

    ``tile``, ``overlap``: pixels, multiples of :data:`GRID`, see :func:`tile_starts`. An image that fits into one
    tile goes to ``model`` as it is.
    """

    def __init__(self, model: Model, tile: int, overlap: int) -> None:
        tile_starts(tile, tile, overlap)  # raises for what cannot be
        self.model, self.tile, self.overlap = model, tile, overlap
        self._windows = functools.cache(self._make_windows)  # the same in every step

    def __call__(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """x_t: (B, C, H, W) -> (B, C', H, W) float32, as from one call of the model."""
        height, width = x_t.shape[2:]
        rows, columns = (tile_starts(side, self.tile, self.overlap) for side in (height, width))
        if len(rows) == len(columns) == 1:
            return self.model(x_t, timesteps)
        tall, wide = min(self.tile, height), min(self.tile, width)
        windows, weights = self._windows(height, width, x_t.device)
        total: Tensor | None = None
        for (top, left), window in windows.items():
            part = self.model(x_t[:, :, top : top + tall, left : left + wide].contiguous(), timesteps).float()
            if total is None:
                total = torch.zeros((*part.shape[:2], height, width), device=x_t.device)
            total[:, :, top : top + tall, left : left + wide] += part * window
        assert total is not None  # there is a tile
        return total / weights

    def _make_windows(
        self, height: int, width: int, device: torch.device
    ) -> tuple[dict[tuple[int, int], Tensor], Tensor]:
        """The window of every tile by its upper left, and their sum (height, width)."""
        tall, wide = min(self.tile, height), min(self.tile, width)
        weights = torch.zeros((height, width), device=device)
        windows = {}
        for top, left in product(*(tile_starts(side, self.tile, self.overlap) for side in (height, width))):
            window = torch.outer(
                tile_window(top, tall, height, self.overlap), tile_window(left, wide, width, self.overlap)
            ).to(device)
            weights[top : top + tall, left : left + wide] += window
            windows[top, left] = window
        return windows, weights


def tile_large_images(model: Model, runtime: RuntimeConfig) -> Model:
    """``model`` for images of any size: each goes through whole or in tiles, as ``runtime`` says of its size."""
    by_tile: dict[int, TiledModel] = {}  # they keep the windows of the sizes that they have seen

    def run(x_t: Tensor, timesteps: Tensor) -> Tensor:
        tile = runtime.tile_of((x_t.shape[2], x_t.shape[3]))
        if tile is None:
            return model(x_t, timesteps)
        if tile not in by_tile:
            by_tile[tile] = TiledModel(model, tile, runtime.overlap)
        return by_tile[tile](x_t, timesteps)

    return run
