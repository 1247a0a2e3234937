"""Large images: the network sees overlapping tiles, the sampler and EM see the whole.

Bar-Tal et al., "MultiDiffusion" (2023): in every step the outputs of the tiles are averaged where they overlap.
The weights fall smoothly to the edges of a tile, where its output knows least of what lies around.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from guided_diffusion.gaussian_diffusion import Model

GRID = (
    32  # tiles begin at multiples of this, so that a pixel always has the same place in the network's levels
)


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

    def __call__(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """x_t: (B, C, H, W) -> (B, C', H, W) float32, as from one call of the model."""
        height, width = x_t.shape[2:]
        rows, columns = (tile_starts(side, self.tile, self.overlap) for side in (height, width))
        if len(rows) == len(columns) == 1:
            return self.model(x_t, timesteps)
        tall, wide = min(self.tile, height), min(self.tile, width)
        total: Tensor | None = None
        weights = torch.zeros((height, width), device=x_t.device)
        for top, left in product(rows, columns):
            part = self.model(x_t[:, :, top : top + tall, left : left + wide].contiguous(), timesteps).float()
            window = torch.outer(
                tile_window(top, tall, height, self.overlap), tile_window(left, wide, width, self.overlap)
            ).to(x_t.device)
            if total is None:
                total = torch.zeros((*part.shape[:2], height, width), device=x_t.device)
            total[:, :, top : top + tall, left : left + wide] += part * window
            weights[top : top + tall, left : left + wide] += window
        assert total is not None  # there is a tile
        return total / weights
