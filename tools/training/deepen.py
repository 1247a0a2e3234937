"""The weights of a network as those of one with more blocks a level, to go on training from."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

NUMBERED = re.compile(r"(input_blocks|output_blocks)\.(\d+)\.(.+)")


def deepened_weights(
    state: Mapping[str, Tensor], fresh: Mapping[str, Tensor], levels: int
) -> dict[str, Tensor]:
    """``state`` in the network that ``fresh`` is a new state of, with more ``num_res_blocks`` and otherwise the same.

    The larger network says what the smaller one said: every block that is new passes on what comes to it, because
    the last convolution of its residual branch is zero (Net2Net's deepening; Chen, Goodfellow and Shlens 2016). On
    the way up it drops the skip that it is given. ``levels``: of the UNet. A state of as many blocks is returned as
    it is. Raises ValueError for one of more blocks.
    """
    few, many = _blocks(state, levels), _blocks(fresh, levels)
    if few == many or few < 1:  # of no UNet: loading it will say so
        return dict(state)
    if few > many:
        raise ValueError(f"the weights are of a network of {few} blocks a level, more than its {many}")
    grown = dict(fresh)
    for key, value in state.items():
        match = NUMBERED.fullmatch(key)
        if match is None:
            grown[key] = value
            continue
        side, number, rest = match[1], int(match[2]), match[3]
        grown[f"{side}.{_place(side, number, few, many)}.{rest}"] = value
    for level in range(levels):
        for place in range(1, many - few + 1):
            key = f"output_blocks.{level * (many + 1) + place}.0.skip_connection"
            grown[f"{key}.weight"] = _first(grown[f"{key}.weight"])
            grown[f"{key}.bias"] = torch.zeros_like(grown[f"{key}.bias"])
    return grown


def _blocks(state: Mapping[str, Tensor], levels: int) -> int:
    matches = (NUMBERED.fullmatch(key) for key in state)
    numbers = {int(match[2]) for match in matches if match is not None and match[1] == "output_blocks"}
    return len(numbers) // levels - 1


def _place(side: str, number: int, few: int, many: int) -> int:
    """Where a block goes. On the way down new ones follow the old ones of a level; on the way up, where the first
    of a level changes its width, they follow that one, and the skips that the old ones take are the same."""
    if side == "input_blocks":
        level, block = divmod(number - 1, few + 1)
        return 1 + level * (many + 1) + (many if block == few else block) if number else 0
    level, block = divmod(number, few + 1)
    return level * (many + 1) + (block + many - few if block else 0)


def _first(kernel: Tensor) -> Tensor:
    """A 1x1 kernel (O, I, 1, 1) that passes on the first O of its I channels."""
    return torch.eye(*kernel.shape[:2], dtype=kernel.dtype).view(kernel.shape)
