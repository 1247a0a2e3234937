"""One range of values for a folder of images of more than 8 bits, so that they stay comparable."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from util.images.image_io import ImageError, ValueRange, own_range


def sequence_range(paths: Iterable[Path], max_pixels: int | None = None) -> ValueRange | None:
    """From the lowest to the highest value that would be black or white in any of the images by itself.

    None: none of them has more than 8 bits. Those that cannot be read are passed over, and fail where they are fused.
    """
    found: list[ValueRange] = []
    for path in paths:
        try:
            own = own_range(path, max_pixels)
        except ImageError:
            continue
        if own is not None:
            found.append(own)
    if not found:
        return None
    return float(min(low for low, _ in found)), float(max(high for _, high in found))
