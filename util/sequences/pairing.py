"""Which infrared frame belongs to which visible one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

from util.sequences.frames import Frame, Frames, SequenceError

SAME_RATE = 0.001  # relative difference up to which two rates are one

log = logging.getLogger("ddfm")


def paired(ir: Frames, vi: Frames) -> Iterator[tuple[Frame, Frame]]:
    """Pairs of frames, one for each visible frame, read as they are taken.

    By number; between videos of different rates by time, each visible frame with the infrared one that is nearest.
    Raises SequenceError when sequences that are paired by number differ in length, at once where this is known.
    """
    if ir.rate and vi.rate and abs(ir.rate / vi.rate - 1) > SAME_RATE:
        log.info(
            f"{ir.name} has {ir.rate:.4g} frames a second, {vi.name} {vi.rate:.4g}: paired by nearest time"
        )
        return by_time(ir, vi)
    if ir.count is not None and vi.count is not None and ir.count != vi.count:
        raise _lengths(ir, vi, ir.count, vi.count)
    return by_number(ir, vi)


def by_number(ir: Frames, vi: Frames) -> Iterator[tuple[Frame, Frame]]:
    """The first with the first, and so on. Raises SequenceError where one ends before the other."""
    for number, (a, b) in enumerate(itertools.zip_longest(ir, vi)):
        if a is None or b is None:
            raise _lengths(ir, vi, *((number, "more") if a is None else ("more", number)))
        yield a, b


def by_time(ir: Frames, vi: Frames) -> Iterator[tuple[Frame, Frame]]:
    """Each visible frame with the infrared one that is nearest in time, the earlier of two; to the end of either."""
    others = iter(ir)
    before = next(others, None)
    after = next(others, None)
    for frame in vi:
        if before is None:
            return
        now = frame.time or 0.0
        while after is not None and abs((after.time or 0.0) - now) < abs((before.time or 0.0) - now):
            before, after = after, next(others, None)
        if after is None and ir.rate and now - (before.time or 0.0) > 1 / ir.rate:
            log.warning(f"{ir.name} ends at {before.time or 0:.2f} s, before {vi.name}: the rest is left out")
            return
        yield before, frame


def _lengths(ir: Frames, vi: Frames, a: object, b: object) -> SequenceError:
    return SequenceError(
        f"{ir.name} has {a} frames and {vi.name} {b}, but frames are paired by number: cut them to one length"
    )
