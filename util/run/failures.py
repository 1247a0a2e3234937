"""What ends a run before its last pair, and what to say of a pair that memory does not suffice for."""

from __future__ import annotations

import errno

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

LESS_MEMORY = (
    ". There is too little memory for this pair even alone: give the prior smaller tiles (runtime: tile: 256 in the "
    "fusion configuration), use smaller images, or --device cpu where that has more memory"
)


class StopRun(Exception):
    """Nothing more can be done in this run; the message says why and what to do."""


def stop_if_full(error: Exception) -> None:
    """A full disk fails every pair alike: better to stop than to compute what cannot be kept."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        raise StopRun(
            f"the disk is full ({error}); make room and run the same command again, finished pairs are kept"
        ) from error
