"""The last steps of a search for an affine transform between two images of a scene: edges are told by direction.

An edge map says where edges are, and a fence or foliage has them everywhere: its information has many maxima, between
which the search ends by chance. Where edges must meet others that run as they do, few are left. What is maximised is
the correlation of structure tensors of the normalised gradients, close to the normalised gradient fields of Haber and
Modersitzki (2006): the inner product of two such tensors is the squared one of the gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from util.images.registration.mappings import Mapping, lifted, lowered
from util.images.registration.placement import edge_strength

FEW_SAMPLES, MOST_SAMPLES = 100_000, 300_000
"""Values of the maps that are looked at from each beginning, and at last; chosen at random where there are more."""
SEED = 3407
MARGIN = 0.06
"""The part of each side of the grid that is not looked at: the other image may not reach there. Where things near and
far are apart, an affine transform depends on which of them are looked at, and so on the part that both images show.
"""


def new_method() -> Any:
    """What searches have in common, but for what they climb: sums whose order is the same on every run."""
    import SimpleITK

    sitk: Any = SimpleITK
    method = sitk.ImageRegistrationMethod()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfWorkUnits(1)
    return method


def direction_maps(image: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """(3, H, W) float32: the structure tensor of each pixel of (H, W) grey levels, over the mean strength around.

    Its entries are of slopes along the rows, along the columns, and both, times the root of two; its trace is how
    strong the edge is, 0 to 3.
    """
    slopes, around = edge_strength(image, sigma)
    strength = np.hypot(*slopes)
    tensors = np.stack([slopes[0] ** 2, slopes[1] ** 2, np.sqrt(2) * slopes[0] * slopes[1]])
    return (tensors / np.maximum(strength, 1e-9) / np.maximum(around, strength / 3)).astype(np.float32)


def refine(moving: np.ndarray, fixed: np.ndarray, begun: Sequence[Mapping]) -> tuple[Mapping, list[float]]:
    """The affine map of the pixels of ``fixed`` into ``moving`` that the best search from one of ``begun`` finds.

    moving, fixed: (H, W) grey levels of any two sizes. Also returns the squared correlation, 0 to 1, of the maps by
    direction: where each search began, and at last that of what is returned.
    """
    import SimpleITK

    sitk: Any = SimpleITK
    there, here = (direction_maps(image) for image in (moving, fixed))
    # Entries are slices of a volume. Interpolation must not leave it, and the transform stays in its plane.
    volume = sitk.GetImageFromArray(np.concatenate([there[:1], there, there[-1:]]))
    volume.SetOrigin((0.0, 0.0, -1.0))
    images = sitk.GetImageFromArray(here), volume
    rough, fine = _method(here.shape, FEW_SAMPLES, 1.0), _method(here.shape, MOST_SAMPLES, 0.25)
    before = [_agreement(fine, images, lifted(mapping, fixed.shape)) for mapping in begun]
    found = [_climb(rough, images, mapping, fixed.shape) for mapping in begun]
    best = max(found, key=lambda mapping: _agreement(fine, images, lifted(mapping, fixed.shape)))
    best = _climb(fine, images, best, fixed.shape)
    return best, [*before, _agreement(fine, images, lifted(best, fixed.shape))]


def _method(shape: tuple[int, ...], samples: int, step: float) -> Any:
    """A search on a volume of (N, H, W) that looks at so many of its values and begins with such a step in pixels."""
    import SimpleITK

    sitk: Any = SimpleITK
    method = new_method()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(sitk.GetImageFromArray(_middle(shape)))
    method.SetOptimizerAsRegularStepGradientDescent(step, 0.002, 100, 0.6, 1e-9)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerWeights([1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0])
    values = int(np.prod(shape))
    if values > samples:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(samples / values, SEED)
    return method


def _agreement(method: Any, images: tuple[Any, Any], transform: Any) -> float:
    """The squared correlation of the two volumes, 0 to 1; 0 where they do not overlap."""
    method.SetInitialTransform(transform, inPlace=True)
    try:
        return max(0.0, -method.MetricEvaluate(*images))  # the largest number where no value was looked at
    except RuntimeError:
        return 0.0


def _climb(method: Any, images: tuple[Any, Any], begun: Mapping, shape: tuple[int, ...]) -> Mapping:
    """Where a search from ``begun`` ends; there itself where it leaves the image. ``shape``: (H, W) of the grid."""
    transform = lifted(begun, shape)
    if _agreement(method, images, transform) == 0:
        return begun
    try:
        method.Execute(*images)
    except RuntimeError:
        return begun
    return lowered(transform)


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """(..., H, W) uint8: 1 where it is no part of the margin."""
    middle = np.zeros(shape, np.uint8)
    rows, columns = (round(MARGIN * side) for side in shape[-2:])
    middle[..., rows : shape[-2] - rows, columns : shape[-1] - columns] = 1
    return middle
