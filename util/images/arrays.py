"""Images in memory, as Python users have them: numpy arrays, torch tensors, PIL images or paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from util.images.image_io import grey_from_rgb, is_coloured, read_image

Container = Literal["numpy", "torch", "pil"]

_FULL = np.array([0.299, 0.587, 0.114])
_PIL_AS_THEY_ARE = ("L", "RGB", "I;16", "I;16B", "I;16L", "F")


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """An image in memory. ``luma``: (H, W) float64 in 0 ... 255; ``rgb``: (H, W, 3) uint8, or None where it is grey.

    ``container``, ``dtype``: what it came in (a path counts as a uint8 array), and its result goes out in.
    """

    luma: np.ndarray
    rgb: np.ndarray | None
    container: Container
    dtype: np.dtype[Any]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.luma.shape[0], self.luma.shape[1]


def as_image(image: Any, name: str) -> ArrayImage:
    """``image`` as an :class:`ArrayImage`.

    A path to a file; a PIL image; a numpy array (H, W), (H, W, 1) or (H, W, 3); a torch tensor (H, W), (1, H, W) or
    (3, H, W). Values: uint8, uint16, or floating in [0, 1]. Raises ValueError that says ``name`` for anything else.
    """
    if isinstance(image, str | Path):
        read = read_image(Path(image))
        return ArrayImage(read.luma.astype(np.float64), read.rgb, "numpy", np.dtype(np.uint8))
    container: Container = "numpy"
    if isinstance(image, Image.Image):
        values, container = (
            np.asarray(image if image.mode in _PIL_AS_THEY_ARE else image.convert("RGB")),
            "pil",
        )
    elif isinstance(image, torch.Tensor):
        tensor = image.detach().cpu()
        tensor = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        values, container = tensor.numpy(), "torch"
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    elif isinstance(image, np.ndarray):
        values = image
    else:
        raise ValueError(
            f"{name} is a {type(image).__name__}: give a path, a PIL image, a numpy array or a torch tensor"
        )
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or not values.size:
        shape = tuple(image.shape) if isinstance(image, torch.Tensor) else values.shape
        form = "(H, W), (1, H, W) or (3, H, W)" if container == "torch" else "(H, W) or (H, W, 3)"
        raise ValueError(f"{name} has the shape {shape}, but must be {form}")
    dtype = values.dtype
    levels = _levels(values, name)
    if values.ndim == 2:
        return ArrayImage(levels, None, container, dtype)
    rgb = levels.astype(np.uint8) if dtype == np.uint8 else np.floor(levels + 0.5).astype(np.uint8)
    # 8-bit images have 8-bit luma, as those that are read from files
    luma = grey_from_rgb(rgb).astype(np.float64) if dtype == np.uint8 else levels @ _FULL
    return ArrayImage(luma, rgb if is_coloured(rgb) else None, container, dtype)


def _levels(values: np.ndarray, name: str) -> np.ndarray:
    """Values as float64 in 0 ... 255. Raises ValueError."""
    if values.dtype == np.uint8:
        return values.astype(np.float64)
    if values.dtype == np.uint16:
        return values.astype(np.float64) / 257.0
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name} is of {values.dtype}, but must be uint8, uint16 or floating in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # nan is neither
        raise ValueError(f"{name} spans {low:g} ... {high:g}, but floating values must lie in [0, 1]")
    return values.astype(np.float64) * 255.0


def give_back(levels: np.ndarray, like: ArrayImage) -> Any:
    """levels, (H, W) or (H, W, 3) in 0 ... 255, in the container and type of ``like``."""
    if like.dtype == np.uint8:
        values = np.floor(np.clip(levels, 0, 255) + 0.5 - 1e-9).astype(
            np.uint8
        )  # as result files are rounded
    elif like.dtype.kind == "u":
        values = np.floor(np.clip(levels, 0, 255) * 257.0 + 0.5).astype(np.uint16)
    else:
        values = (np.clip(levels, 0, 255) / 255.0).astype(like.dtype)
    if like.container == "torch":
        return torch.from_numpy(
            np.ascontiguousarray(np.moveaxis(values, -1, 0) if values.ndim == 3 else values)
        )
    if like.container == "pil":
        return Image.fromarray(values if like.dtype != np.dtype(np.float64) else values.astype(np.float32))
    return values
