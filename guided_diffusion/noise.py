"""Random numbers of a fusion: a generator for every pair, so that no pair depends on its company."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Size = tuple[int, int]


class PairNoise:
    """Draws standard normal noise, (B, C, H, W), for a batch of ``count`` pairs with one seed, or one for each.

    ``cores``: for each pair, height and width, from the upper left, of the part whose noise shall be that of a run
    on this part alone; the rest then comes from a generator of its own. So a padded image starts from, and
    goes on with, the noise of the cropped one, and both differ by what lies beyond the edge alone.
    """

    def __init__(
        self,
        count: int,
        seed: int | Sequence[int],
        device: torch.device,
        cores: Sequence[Size] | None = None,
    ) -> None:
        self.device, self.cores = device, cores
        seeds = [seed] * count if isinstance(seed, int) else seed
        self._inner = [torch.Generator(device=device).manual_seed(own) for own in seeds]
        self._outer = [torch.Generator(device=device).manual_seed(own + 1) for own in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """Noise of the shape of ``like``."""
        return self.draw(like.shape)

    def draw(self, shape: torch.Size) -> Tensor:
        """The next noise of every pair; ``shape``: (B, C, H, W)."""
        return torch.cat([self._row(index, (1, *shape[1:])) for index in range(shape[0])])

    def _row(self, index: int, shape: tuple[int, ...]) -> Tensor:
        core = shape[2:] if self.cores is None else self.cores[index]
        inner = torch.randn((*shape[:2], *core), generator=self._inner[index], device=self.device)
        if tuple(core) == tuple(shape[2:]):
            return inner
        row = torch.randn(shape, generator=self._outer[index], device=self.device)
        row[:, :, : core[0], : core[1]] = inner
        return row
