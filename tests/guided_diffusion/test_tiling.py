"""Tiles: every pixel covered, nothing changed where the network is local, and no seam."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guided_diffusion.tiling import GRID, TiledModel, tile_starts, tile_window
from tests.conftest import TINY, rule_model

grid = st.integers(1, 40).map(lambda n: n * GRID)


@given(grid, grid, st.integers(0, 40).map(lambda n: n * GRID))
def test_tiles_cover_the_axis(length: int, tile: int, overlap: int):
    if overlap >= tile:
        with pytest.raises(ValueError, match="overlap"):
            tile_starts(length, tile, overlap)
        return
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0 and all(start % GRID == 0 for start in starts)
    assert starts[-1] + min(tile, length) == length
    shared = [one + tile - other for one, other in pairwise(starts)]
    assert all(overlap <= pixels < tile for pixels in shared)
    weights = torch.zeros(length)
    for start in starts:
        size = min(tile, length)
        window = tile_window(start, size, length, overlap)
        assert (window > 0).all() and (window <= 1).all()
        weights[start : start + size] += window
    assert (weights > 0).all()


def test_sizes_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        tile_starts(100, 64, 0)
    with pytest.raises(ValueError, match="multiples of 32"):
        TiledModel(lambda x, t: x, 65, 0)
    with pytest.raises(ValueError, match="multiples of 32"):
        TiledModel(lambda x, t: x, 64, 20)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_pointwise_network_is_not_changed():
    calls: list[tuple[int, ...]] = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        calls.append(tuple(x.shape))
        return torch.cat([x * t.view(-1, 1, 1, 1), x + 1], dim=1)

    x, t = normal(2, 3, 96, 160), torch.tensor([2, 5])
    out = TiledModel(model, 64, 32)(x, t)
    assert set(calls) == {(2, 3, 64, 64)} and len(calls) == 2 * 4
    torch.testing.assert_close(out, model(x, t), rtol=1e-5, atol=1e-5)


def test_a_local_network_differs_only_within_its_reach_of_the_edges_of_tiles():
    kernel = normal(3, 3, 5, 5)
    out = TiledModel(lambda x, t: F.conv2d(x, kernel, padding=2), 64, 32)(
        normal(1, 3, 64, 160), torch.zeros(1)
    )
    whole = F.conv2d(normal(1, 3, 64, 160), kernel, padding=2)
    error = (out - whole).abs().amax(dim=(0, 1, 2))
    reach = {
        edge + offset for start in (32, 64, 96) for edge in (start, start + 32) for offset in (-2, -1, 0, 1)
    }
    far = [column for column in range(160) if column not in reach]
    assert error[far].max() < 1e-4
    # and near them by no more than the window lets through, two pixels into a ramp of 32
    assert error.max() < 0.02 * whole.abs().max()


def test_small_images_go_through_whole():
    x = normal(1, 3, 64, 32)
    assert TiledModel(lambda x, t: x, 64, 32)(x, torch.zeros(1)) is x


def test_no_seam_with_a_real_network():
    """The step across an edge of a tile is no larger than between any other neighbours."""
    model = rule_model(TINY, 7).requires_grad_(False)
    x = F.interpolate(normal(1, 3, 8, 16), size=(64, 160), mode="bicubic")
    t = torch.tensor([300])
    difference = TiledModel(model, 64, 32)(x, t) - model(x, t)
    steps = difference.diff(dim=3).abs().mean(dim=(0, 1, 2))
    edges = [31, 63, 95, 127]
    others = [column for column in range(159) if column not in edges]
    assert steps[edges].max() <= 1.5 * steps[others].max()
