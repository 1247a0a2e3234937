"""The sources of a fusion, as every rectification takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

SLACK = 1e-4
"""Beyond [-1, 1] that is still taken for rounding of what was scaled to it."""


def check_sources(sources: Sequence[Tensor], fewest: int = 2, most: int = 2) -> list[Tensor]:
    """The sources in float32, once all has been found to fit. Waits for the device, so call it once a fusion.

    sources: ``fewest`` to ``most`` lumas (B, 1, H, W) in [-1, 1] of one size and device, any floating type, H and W
    at least 2. Raises ValueError that says what does not fit.
    """
    if not fewest <= len(sources) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ValueError(f"this rectification takes {wanted} sources, but there are {len(sources)}")
    first = sources[0]
    for source in sources:
        if (
            source.shape != first.shape
            or source.ndim != 4
            or source.shape[1] != 1
            or min(source.shape[2:]) < 2
        ):
            shapes = " and ".join(str(tuple(each.shape)) for each in sources)
            raise ValueError(
                f"the sources must all be (B, 1, H, W) with H and W at least 2, but are {shapes}"
            )
        if source.device != first.device:
            raise ValueError(f"the sources lie on different devices, {first.device} and {source.device}")
    checked = [float32(source) for source in sources]
    for number, source in enumerate(checked):
        if source.device.type != "meta" and not bool((source.abs() <= 1 + SLACK).all()):
            low, high = source.min().item(), source.max().item()
            raise ValueError(
                f"source {number} spans {low:g} ... {high:g}, but luma must lie in [-1, 1]: "
                "2 * level / 255 - 1 for 8-bit levels"
            )
    return checked


def float32(image: Tensor) -> Tensor:
    """``image`` in float32. Raises ValueError for integers, which cannot be luma in [-1, 1]."""
    if not image.is_floating_point():
        raise ValueError(f"expected luma in [-1, 1] of a floating type, got {image.dtype}")
    return image.float()


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """float32 means float32 inside, whatever autocast is on."""
    with torch.autocast(device.type, enabled=False):
        yield


def check_estimate(f: Tensor, like: Tensor) -> Tensor:
    """The estimate f in float32. Raises ValueError unless it is shaped as the sources are."""
    if f.shape != like.shape:
        raise ValueError(f"the estimate is {tuple(f.shape)}, the sources are {tuple(like.shape)}")
    return float32(f)
