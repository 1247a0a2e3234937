"""Frames of two cameras that stand beside each other: one transform brings those of the one onto the other's."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from util.images.image_io import grey_from_rgb, is_coloured
from util.images.levels import round_to_uint8
from util.images.registration.applying import agree, move
from util.images.registration.placement import overlap
from util.images.registration.search import Register, RegistrationError, check_register
from util.sequences.frames import Frame, SequenceError

LOOKED_AT = 8
"""Frames whose mean is registered: noise is less in it, and what moves is moved in both."""

log = logging.getLogger("ddfm")


class Alignment:
    """Brings infrared frames onto the visible ones. ``outcome``: what was found, once the first pair is there.

    Raises RegistrationError for a mode that is not known or needs what is not installed.
    """

    def __init__(self, mode: Register) -> None:
        check_register(mode)
        self.mode: Register = mode
        self.outcome: dict[str, Any] | None = None

    def __call__(self, pairs: Iterator[tuple[Frame, Frame]]) -> Iterator[tuple[Frame, Frame]]:
        """The pairs, of one size. Raises SequenceError where sizes differ and cannot be brought together."""
        if self.mode == "off":
            yield from pairs
            return
        first = list(itertools.islice(pairs, LOOKED_AT))
        if not first:
            return
        means = [
            np.mean([grey_from_rgb(frame.rgb) for frame in side], axis=0) for side in zip(*first, strict=True)
        ]
        try:
            found, self.outcome = agree(means[0], means[1], self.mode, "the sequence")
        except RegistrationError as error:
            raise SequenceError(str(error)) from error
        if found is None:
            yield from itertools.chain(first, pairs)
            return
        size, moving = (tuple(mean.shape) for mean in reversed(means))
        inside = overlap(found, (moving[0], moving[1]), (size[0], size[1]))
        log.info(
            f"all infrared frames are registered as the mean of the first {len(first)} is: {found}; "
            f"overlap {inside.mean():.0%}"
        )
        for ir, vi in itertools.chain(first, pairs):
            reference = grey_from_rgb(vi.rgb)
            luma, rgb = move(
                grey_from_rgb(ir.rgb), ir.rgb if is_coloured(ir.rgb) else None, reference, found, inside
            )
            if rgb is None:
                rgb = np.repeat(round_to_uint8(luma)[..., None], 3, axis=2)
            yield Frame(rgb, ir.time), vi
