"""Finding the transform between two images of one scene that were taken with different sensors.

Both become maps of where their edges are; slices of a body, whose tissues have a level each, stay as they are. The
transform is sought that maximises the mutual information of the two maps (Mattes et al. 2003), by SimpleITK, over a
pyramid and from the simplest transform to the most general. Affine ones of scenes are then refined by the direction
of their edges (:mod:`util.images.registration.refining`).
See docs/registration.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from util.images.registration.mappings import after, implausible, inverse, mapping_of, transform_of
from util.images.registration.placement import (
    Registration,
    edge_map,
    is_slice,
    measure_shift,
    overlap,
    smoothed,
    warp,
)
from util.images.registration.refining import SEED, new_method, refine

if TYPE_CHECKING:
    import SimpleITK as sitk

Register = Literal["off", "translation", "affine", "auto"]
Model = Literal["translation", "similarity", "affine"]

MISFIT = 1.0
"""Pixels of mean displacement up to which ``auto`` leaves a pair as it is."""
LEAST_GAIN = 0.05
"""By which part the mutual information must grow for a transform to be believed."""
LEAST_EVIDENCE = 300.0, 1000.0
"""Nats, over all pixels, that a transform must gain, and that images of two sizes must share after it: neighbouring
pixels are alike, so that chance alone can reach a third of this."""
LEAST_STEP = 0.01
"""By which part it must grow from a transform to a more general one."""
LEAST_OVERLAP = 0.4
"""The part of the grid that must be covered."""
BINS = 32
"""Of the joint histogram, a side."""
MOST_SAMPLES = 200_000, 40_000
"""Pixels of a level that are looked at in the search, chosen at random; the second of slices."""
_REMEDY = "pip install -r requirements-register.txt, or register the images first"


class RegistrationError(ValueError):
    """Images that cannot be brought onto each other; the message says why and what to do."""


def can_register() -> bool:
    """Whether SimpleITK is installed."""
    return importlib.util.find_spec("SimpleITK") is not None


def check_register(mode: str) -> None:
    """Raise RegistrationError for an unknown mode, and where SimpleITK is needed but not installed."""
    if mode not in get_args(Register):
        raise RegistrationError(f"register is {mode!r}, but must be one of {', '.join(get_args(Register))}")
    if mode in ("translation", "affine") and not can_register():
        raise RegistrationError(f"register: {mode} needs SimpleITK, which is not installed: {_REMEDY}")


def register(moving: np.ndarray, fixed: np.ndarray, mode: Register) -> Registration:
    """Where the pixels of ``fixed`` lie in ``moving``; (H, W) grey levels 0 ... 255 of any two sizes.

    ``translation`` and ``affine`` search these; ``auto`` searches an affine transform or, between slices of a body,
    a translation, and refuses one of no more than :data:`MISFIT` pixels. What is found but not believed comes
    with ``refused``. Raises RegistrationError for the mode ``off``, and without SimpleITK.
    """
    check_register("affine")
    if mode == "off":
        raise RegistrationError("register is off")
    slices = mode == "auto" and is_slice(moving) and is_slice(fixed)
    found = _Search(moving, fixed).find(affine=mode != "translation" and not slices)
    if mode == "auto" and not found.refused and moving.shape == fixed.shape and found.misfit <= MISFIT:
        return replace(found, refused=f"a misfit of {found.misfit:.1f} pixels, which is left as it is")
    return found


Levels = Sequence[tuple[int, float]]
"""Of a pyramid: how far both maps are shrunk, and the blur before, in pixels."""

COARSE: Levels = ((4, 2.0),)
FINE: Levels = ((2, 1.0), (1, 0.0))


class _Search:
    """The maps of a pair, and the search for the best transform between them.

    A transform maps pixels of ``fixed`` to places on the same grid; ``start`` maps these into ``moving``.
    """

    def __init__(self, moving: np.ndarray, fixed: np.ndarray) -> None:
        import SimpleITK

        self.sitk: Any = SimpleITK
        self.sizes = moving.shape, fixed.shape
        self.images = moving, fixed
        self.slices = is_slice(moving) and is_slice(fixed)
        to_map, self.samples = (smoothed if self.slices else edge_map), MOST_SAMPLES[self.slices]
        self.maps = [self.sitk.GetImageFromArray(to_map(image)) for image in (fixed, moving)]
        self.centre = [(side - 1) / 2 for side in fixed.shape[::-1]]

    def find(self, affine: bool) -> Registration:
        """The transform of the most information, and whether it is to be believed."""
        sitk = self.sitk
        starts = [self._start(scale) for scale in self._scales()]
        before = self.information(starts[0], sitk.TranslationTransform(2))
        information, start, shift = max(
            (self._coarse(start, shift) for start in starts for shift in self._shifts(start)),
            key=lambda each: each[0],
        )
        model: Model = "translation"
        best = self._climb(start, sitk.TranslationTransform(2, shift), FINE)
        moved, information = best, self.information(start, best)
        for larger in ("similarity", "affine") if affine else ():
            begun = self._wider(larger, best)
            tried, reached = begun, 0.0
            for levels in (FINE, (*COARSE, *FINE)):  # fine levels alone can lose their way at once
                tried = self._climb(start, begun, levels)
                reached = self.information(start, tried)
                if reached >= information:
                    break
            if reached > information * (1 + LEAST_STEP) and not implausible(mapping_of([tried])[0]):
                best, information, model = tried, reached, larger
        if affine and not self.slices:
            finer = self._refined(start, moved, best)
            if finer is not None:
                best, information, model = finer, self.information(start, finer), "affine"
        return self._judged(starts[0], start, best, model, (before, information))

    def _refined(self, start: Any, moved: Any, best: Any) -> Any:
        """``best`` refined by the direction of edges, or None where that explains nothing more or is implausible."""
        moving, fixed = self.images
        begun = [mapping_of([start, best])]
        if best is not moved:  # also from where it puts the middle, and no further
            middle = np.array(best.TransformPoint(self.centre))
            begun.append(after((np.eye(2), middle - self.centre), mapping_of([start])))
        found, (before, *_, after_it) = refine(moving, fixed, begun)
        least = before * (1 + LEAST_STEP) if best is moved else before
        inner = after(found, inverse(mapping_of([start])))
        return None if after_it <= least or implausible(inner[0]) else transform_of(inner)

    def _scales(self) -> list[tuple[float, float]]:
        """How many pixels of ``moving`` a pixel may be at first: whole frames alike or, cut out of it, as many."""
        (height, width), (rows, columns) = self.sizes
        whole = (width / columns, height / rows)
        return [whole] if whole == (1.0, 1.0) else [whole, (1.0, 1.0)]

    def _start(self, scale: tuple[float, float]) -> sitk.AffineTransform:
        """Both frames with their centres on each other."""
        start = self.sitk.AffineTransform(2)
        start.SetCenter(self.centre)
        start.SetMatrix([scale[0], 0, 0, scale[1]])
        middle = [(side - 1) / 2 for side in self.sizes[0][::-1]]
        start.SetTranslation([a - b for a, b in zip(middle, self.centre, strict=True)])
        return start

    def _shifts(self, start: sitk.AffineTransform) -> list[tuple[float, float]]:
        """Where to begin: as the images are, and where phase correlation puts them."""
        moving, fixed = self.images
        if moving.shape != fixed.shape:
            matrix, offset = mapping_of([start])
            moving = warp(moving, Registration(matrix, offset, "translation", 0.0, (0.0, 0.0)), self.sizes[1])
        return [(0.0, 0.0), measure_shift(moving, fixed)]

    def _coarse(self, start: Any, shift: tuple[float, float]) -> tuple[float, Any, tuple[float, float]]:
        found = self._climb(start, self.sitk.TranslationTransform(2, shift), COARSE)
        return self.information(start, found), start, found.GetOffset()

    def _method(self, start: sitk.AffineTransform) -> sitk.ImageRegistrationMethod:
        method = new_method()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMovingInitialTransform(start)
        return method

    def information(self, start: sitk.AffineTransform, transform: sitk.Transform) -> float:
        """The mutual information of both maps, in nats."""
        (method := self._method(start)).SetInitialTransform(transform)
        try:
            return -method.MetricEvaluate(*self.maps)
        except RuntimeError:  # no overlap
            return 0.0

    def _climb(self, start: Any, transform: Any, levels: Levels) -> Any:
        """``transform`` where its information is largest; as it was where the search leaves the image."""
        method = self._method(start)
        method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.005, 200, 0.6, 1e-8)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([shrink for shrink, _ in levels])
        method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
        found = type(transform)(transform)
        pixels = self.sizes[1][0] * self.sizes[1][1]
        shares = [min(1.0, self.samples * shrink**2 / pixels) for shrink, _ in levels]
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel(shares, SEED)
        method.SetInitialTransform(found, inPlace=True)
        try:
            method.Execute(*self.maps)
        except RuntimeError:
            return transform
        return found

    def _wider(self, model: str, inner: Any) -> Any:
        """The same map as ``inner``, as a transform of a more general kind."""
        matrix, offset = mapping_of([inner])
        wider = self.sitk.Similarity2DTransform() if model == "similarity" else self.sitk.AffineTransform(2)
        wider.SetCenter(self.centre)
        if model == "affine":
            wider.SetMatrix(matrix.ravel().tolist())
        wider.SetTranslation((offset + (matrix - np.eye(2)) @ np.array(self.centre)).tolist())
        return wider

    def _judged(
        self, first: Any, start: Any, best: Any, model: Model, information: tuple[float, float]
    ) -> Registration:
        matrix, offset = mapping_of([start, best])
        found = Registration(matrix, offset, model, self._misfit(first, matrix, offset), information)
        before, after = information
        covered = float(overlap(found, *self.sizes).mean())
        words = implausible(mapping_of([best])[0])
        if covered < LEAST_OVERLAP:
            words = f"only {covered:.0%} of the image would be covered"
        elif not words and not self._believable(before, after):
            words = f"the information the images share hardly grows ({before:.3f} -> {after:.3f})"
        return replace(found, refused=words)

    def _believable(self, before: float, after: float) -> bool:
        pixels = self.sizes[1][0] * self.sizes[1][1]
        if self.sizes[0] != self.sizes[1]:
            return after * pixels >= LEAST_EVIDENCE[1]  # it is known that they must be scaled
        return after > before * (1 + LEAST_GAIN) and (after - before) * pixels >= LEAST_EVIDENCE[0]

    def _misfit(self, first: Any, matrix: np.ndarray, offset: np.ndarray) -> float:
        """Mean displacement over the grid from where ``first`` puts its pixels, in pixels of the grid."""
        at = np.stack(np.meshgrid(*(np.linspace(0, side - 1, 9) for side in self.sizes[1][::-1])))
        at = at.reshape(2, -1)
        home, offset_home = mapping_of([first])
        moved = (matrix - home) @ at + (offset - offset_home)[:, None]
        return float(np.linalg.norm(np.linalg.solve(home, moved), axis=0).mean())
