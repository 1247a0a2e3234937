"""Sources registered before they are fused: what becomes of a pair by each mode, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import Field, dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from util.images.image_io import grey_from_rgb
from util.images.levels import round_to_uint8
from util.images.pairs import Pair
from util.images.registration.placement import Registration, continued, measure_shift, overlap, warp
from util.images.registration.search import MISFIT, Register, RegistrationError, can_register, register

log = logging.getLogger("ddfm")


class HasLuma(Protocol):
    """A dataclass of an image: ``luma``, (H, W) levels, and ``rgb``, (H, W, 3) uint8, or None where it is grey."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def luma(self) -> np.ndarray: ...
    @property
    def rgb(self) -> np.ndarray | None: ...


Image = TypeVar("Image", bound=HasLuma)


@dataclass(frozen=True, eq=False)
class Registered:
    """An image on the grid of its partner. ``luma``: (H, W) levels, ``rgb``: (H, W, 3) uint8 or None.

    ``inside``: (H, W), whether a pixel is in the overlap; outside, its partner has taken its place.
    ``outcome``: what was found and done, for files.
    """

    luma: np.ndarray
    rgb: np.ndarray | None
    inside: np.ndarray
    outcome: dict[str, Any]


def registered(pair: Pair, mode: Register) -> Pair:
    """The pair with all its images on the grid of the last, unless ``mode`` is ``off``.

    Raises RegistrationError where sizes differ and the images cannot be brought together.
    """
    if mode == "off":
        return pair
    names = [f"{pair.stem}: {source.path.name}" for source in pair.sources]
    sources, outcomes = all_onto_last(pair.sources, mode, names)
    return replace(pair, sources=tuple(sources), registrations=tuple(outcomes))


def all_onto_last(
    images: Sequence[Image], mode: Register, names: Sequence[str]
) -> tuple[list[Image], list[dict[str, Any]]]:
    """Images, by their names, on the grid of the last, and what was done to each of the others; see
    :func:`bring_onto`. Where ``luma`` is uint8 it stays so."""
    *others, reference = images
    moved, outcomes = [], []
    for image, name in zip(others, names, strict=False):
        found = bring_onto(image.luma, image.rgb, reference.luma, mode, name)
        whole = image.luma.dtype == np.uint8
        luma = round_to_uint8(found.luma.astype(np.float64)) if whole else found.luma
        moved.append(replace(image, luma=luma, rgb=found.rgb))
        outcomes.append(found.outcome)
    return [*moved, reference], outcomes


def bring_onto(
    luma: np.ndarray, rgb: np.ndarray | None, reference: np.ndarray, mode: Register, name: str
) -> Registered:
    """An image (H, W) in grey levels, and its colours, brought onto the grid of ``reference``, (H, W) levels.

    ``name`` begins what is logged. What is found but not believed is not used, which is said in a warning; without
    SimpleITK ``auto`` warns of the misfit that phase correlation shows. Raises RegistrationError where the images
    differ in size and cannot be brought together.
    """
    found, outcome = agree(luma, reference, mode, name)
    if found is None:
        return Registered(luma, rgb, np.ones(luma.shape, bool), outcome)
    inside = overlap(found, (luma.shape[0], luma.shape[1]), (reference.shape[0], reference.shape[1]))
    log.info(f"{name}: registered: {found}; overlap {inside.mean():.0%}")
    return Registered(*move(luma, rgb, reference, found, inside), inside, outcome)


def agree(
    luma: np.ndarray, reference: np.ndarray, mode: Register, name: str
) -> tuple[Registration | None, dict[str, Any]]:
    """Where an image lies, or None where it stays as it is, and what was found; as :func:`bring_onto`."""
    same = luma.shape == reference.shape
    if not can_register() and mode == "auto" and same:
        return None, _unregistered(luma, reference, name)
    found = register(luma, reference, mode)
    outcome: dict[str, Any] = {"mode": mode, **found.describe(), "used": not found.refused}
    if not found.refused:
        return found, outcome
    if not same:
        raise RegistrationError(
            f"{name}: the images differ in size and cannot be registered: {found.refused}; register them first"
        )
    small = mode == "auto" and found.misfit <= MISFIT
    log.log(
        logging.INFO if small else logging.WARNING,
        f"{name}: not registered: {found.refused}" + ("" if small else f" (found: {found})"),
    )
    return None, {**outcome, "refused": found.refused}


def _unregistered(luma: np.ndarray, reference: np.ndarray, name: str) -> dict[str, Any]:
    """Say how far the images seem to be apart, when nothing can be done about it."""
    x, y = measure_shift(luma, reference)
    if np.hypot(x, y) > MISFIT:
        log.warning(
            f"{name}: the images seem to be apart by ({x:.1f}, {y:.1f}) pixels, and are fused as they are; SimpleITK "
            "would register them: pip install -r requirements-register.txt"
        )
    return {"mode": "auto", "used": False, "shift": [round(x, 1), round(y, 1)], "refused": "no SimpleITK"}


def move(
    luma: np.ndarray, rgb: np.ndarray | None, reference: np.ndarray, found: Registration, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Levels and colours on the grid of the reference, which takes their place outside the overlap, ``inside``."""
    size = (reference.shape[0], reference.shape[1])

    def place(plane: np.ndarray) -> np.ndarray:
        return np.clip(continued(warp(plane, found, size), reference, inside), 0, 255)

    if rgb is None:
        return place(luma), None
    colours = np.stack([round_to_uint8(place(plane)) for plane in np.moveaxis(rgb, 2, 0)], axis=2)
    return grey_from_rgb(colours).astype(np.float64), colours
