"""Affine maps of pixels, as arrays and as transforms of SimpleITK, and which of them are plausible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mapping = tuple[np.ndarray, np.ndarray]
"""A matrix (2, 2) and an offset (2,): (x, y) goes to matrix (x, y) + offset."""

SCALES, SHEAR = (0.8, 1.25), 1.15
"""What is plausible: singular values of the matrix, and their ratio."""


def mapping_of(transforms: Sequence[Any]) -> Mapping:
    """That of 2D transforms that are applied from the last to the first."""

    def through(point: tuple[float, float]) -> np.ndarray:
        for transform in reversed(transforms):
            point = transform.TransformPoint(point)
        return np.array(point)

    return _read(through)


def _read(through: Callable[[tuple[float, float]], np.ndarray]) -> Mapping:
    """The affine map that ``through`` is, told by where three points go."""
    offset = through((0.0, 0.0))
    return np.stack([through((1.0, 0.0)) - offset, through((0.0, 1.0)) - offset], axis=1), offset


def transform_of(mapping: Mapping) -> Any:
    """As an affine transform."""
    import SimpleITK

    sitk: Any = SimpleITK
    matrix, offset = mapping
    transform = sitk.AffineTransform(2)
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation(offset.tolist())
    return transform


def after(first: Mapping, second: Mapping) -> Mapping:
    """``second`` of what ``first`` gives."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def inverse(mapping: Mapping) -> Mapping:
    """The way back."""
    back = np.linalg.inv(mapping[0])
    return back, -back @ mapping[1]


def lifted(mapping: Mapping, shape: tuple[int, ...]) -> Any:
    """A transform of a volume that does this in each of its slices, (H, W), around their middle."""
    import SimpleITK

    sitk: Any = SimpleITK
    matrix, offset = mapping
    centre = np.array([(side - 1) / 2 for side in shape[::-1]])
    whole = np.eye(3)
    whole[:2, :2] = matrix
    transform = sitk.AffineTransform(3)
    transform.SetCenter((*centre.tolist(), 0.0))
    transform.SetMatrix(whole.ravel().tolist())
    transform.SetTranslation((*(offset + (matrix - np.eye(2)) @ centre).tolist(), 0.0))
    return transform


def lowered(transform: Any) -> Mapping:
    """The way back from :func:`lifted`."""
    return _read(lambda point: np.array(transform.TransformPoint((*point, 0.0)))[:2])


def implausible(matrix: np.ndarray) -> str:
    """Why such a matrix is not believed, or nothing."""
    large, small = np.linalg.svd(matrix, compute_uv=False)
    if not (SCALES[0] <= small and large <= SCALES[1]):
        return f"a scale of {small:.2f} to {large:.2f} is implausible"
    if large > SHEAR * small or np.linalg.det(matrix) < 0:
        return f"a shear with scales of {small:.2f} and {large:.2f} is implausible"
    return ""
