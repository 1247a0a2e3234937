"""The weights of a network as those of one with more blocks a level, to go on training from."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from util.checkpoint.architecture import blocks_of_levels

NUMBERED = re.compile(r"(input_blocks|output_blocks)\.(\d+)\.(.+)")


def deepened_weights(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` in the network that ``fresh`` is a new state of, with more ``num_res_blocks`` and otherwise the same.

    The larger network says what the smaller one said: every block that is new passes on what comes to it, because
    the last convolution of its residual branch is zero (Net2Net's deepening; Chen, Goodfellow and Shlens 2016). On
    the way up it drops the skip that it is given. Levels may have more blocks or as many; a state of as many in all
    is returned as it is. Raises ValueError for one of more blocks or another number of levels.
    """
    try:
        few, many = blocks_of_levels(state), blocks_of_levels(fresh)
    except ValueError:  # of no UNet: loading it will say so
        return dict(state)
    if few == many:
        return dict(state)
    if len(few) != len(many):
        raise ValueError(f"the weights are of another number of levels, {len(few)} in place of {len(many)}")
    if any(old > new for old, new in zip(few, many, strict=True)):
        raise ValueError(
            f"the weights are of a network of {_said(few)} blocks a level, not of at most {_said(many)}"
        )
    places = _places(few, many)
    grown = dict(fresh)
    for key, value in state.items():
        match = NUMBERED.fullmatch(key)
        if match is None:
            grown[key] = value
            continue
        side, number, rest = match[1], int(match[2]), match[3]
        grown[f"{side}.{places[side][number]}.{rest}"] = value
    for place in set(range(sum(many) + len(many))) - set(places["output_blocks"]):
        key = f"output_blocks.{place}.0.skip_connection"
        grown[f"{key}.weight"] = _first(grown[f"{key}.weight"])
        grown[f"{key}.bias"] = torch.zeros_like(grown[f"{key}.bias"])
    return grown


def _said(blocks: tuple[int, ...]) -> str:
    """As a configuration says it."""
    return ",".join(map(str, blocks)) if len(set(blocks)) > 1 else str(blocks[0])


def _places(few: tuple[int, ...], many: tuple[int, ...]) -> dict[str, list[int]]:
    """Where the blocks of either side go. On the way down new ones follow the old ones of a level; on the way up,
    where the first of a level changes its width, they follow that one, and the skips that the old ones take are
    the same."""
    down, up = [0], list[int]()
    at = 1
    for old, new in zip(few, many, strict=True):
        down += [*range(at, at + old), at + new]  # and what halves the size, which the last level has not
        at += new + 1
    at = 0
    for old, new in zip(few[::-1], many[::-1], strict=True):
        up += [at, *range(at + 1 + new - old, at + 1 + new)]
        at += new + 1
    return {"input_blocks": down, "output_blocks": up}


def _first(kernel: Tensor) -> Tensor:
    """A 1x1 kernel (O, I, 1, 1) that passes on the first O of its I channels."""
    return torch.eye(*kernel.shape[:2], dtype=kernel.dtype).view(kernel.shape)
