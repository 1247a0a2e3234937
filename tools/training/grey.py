"""The weights of a network for RGB as those of the same network for grey images, to go on training from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from util.checkpoint.architecture import split_channels

FIRST, LAST = "input_blocks.0.0.weight", "out.2"


def grey_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a network of three channels says about the grey direction, (1, 1, 1) / sqrt(3), as one of one channel.

    White noise of sigma in three channels has the component sigma along that unit vector: kernels of the first layer
    are summed over the channels and divided by sqrt(3), those of the last that predict likewise; those for the
    variance, which is a share, are averaged. Nothing else changes, and the weights of a network of one channel not at
    all. Raises ValueError for weights that are of neither kind.
    """
    grey = dict(state)
    if FIRST not in grey or f"{LAST}.weight" not in grey:
        raise ValueError(
            f"the weights lack {FIRST} or {LAST}.weight: these are of no UNet of guided-diffusion"
        )
    inputs = grey[FIRST].shape[1]
    channels, patch_size = split_channels(inputs)
    if channels == 1:
        return grey
    pixels = patch_size**2
    kernels = grey[FIRST].float().unflatten(1, (3, pixels))
    grey[FIRST] = kernels.sum(1) / math.sqrt(3)  # (O, 3 P^2, 3, 3) -> (O, P^2, 3, 3)
    for name in (f"{LAST}.weight", f"{LAST}.bias"):
        groups = grey[name].float().unflatten(0, (-1, 3, pixels))  # prediction, and variance if it is learned
        scale = groups.new_full((len(groups),), 1 / 3)
        scale[0] = 1 / math.sqrt(3)
        grey[name] = (groups.sum(1) * scale.view(-1, *[1] * (groups.ndim - 2))).flatten(0, 1)
    return grey
