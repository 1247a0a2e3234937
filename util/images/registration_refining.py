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

from util.images.mappings import Mapping, lifted, lowered
from util.images.registration import edge_strength

MOST_SAMPLES = 600_000
"""Values of both maps that are looked at; more images are sampled at random."""
BINS = 32
SEED = 3407
MARGIN = 0.06
"""The part of each side of the grid that is not looked at: the other image may not reach there. Where things near and
far are apart, an affine transform depends on which of them are looked at, and so on the part that both images show.
"""


def new_method() -> Any:
    """What searches begin with: the mutual information of two maps, in a sum whose order is the same on every run."""
    import SimpleITK

    sitk: Any = SimpleITK
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfWorkUnits(1)
    return method


def direction_maps(image: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """(3, H, W) float32: the structure tensor of each pixel of (H, W) grey levels, over the mean strength around.

    Its entries are along the rows, along the columns, and both at once, times the root of two; its trace is how strong
    the edge is, 0 to 3.
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
    grid = sitk.GetImageFromArray(here)
    method = new_method()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(sitk.GetImageFromArray(_middle(here.shape)))
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.002, 200, 0.6, 1e-9)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerWeights([1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0])
    if here.size > MOST_SAMPLES:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(MOST_SAMPLES / here.size, SEED)
    found: list[tuple[float, Mapping]] = []
    before: list[float] = []
    for mapping in begun:
        transform = lifted(mapping, fixed.shape)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            before.append(-method.MetricEvaluate(grid, volume))
            method.Execute(grid, volume)
            found.append((-method.MetricEvaluate(grid, volume), lowered(transform)))
        except RuntimeError:  # it has left the image
            before.append(0.0)
    reached, best = max(found, key=lambda each: each[0], default=(0.0, begun[0]))
    return best, [*before, reached]


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """(..., H, W) uint8: 1 where it is no part of the margin."""
    middle = np.zeros(shape, np.uint8)
    rows, columns = (round(MARGIN * side) for side in shape[-2:])
    middle[..., rows : shape[-2] - rows, columns : shape[-1] - columns] = 1
    return middle
