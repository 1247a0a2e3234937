"""Synthetic registered pairs of two modalities: every scene is modelled once and seen twice."""

from __future__ import annotations

from collections.abc import Callable

from .daylight import daylight
from .head import mri_ct, mri_pet
from .night import night_street
from .raster import Pair
from .smoke import smoke

SCENES: dict[str, Callable[[int], Pair]] = {
    "night_street": night_street,
    "smoke": smoke,
    "daylight": daylight,
    "mri_ct": mri_ct,
    "mri_pet": mri_pet,
}
"""File stem of a pair to the function that makes it from a seed."""

SEED = 2023
"""The seed of the pairs that ship in ``input/``."""

__all__ = ["SCENES", "SEED", "Pair"]
