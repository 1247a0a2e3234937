"""How tools end that keep what is finished, so that the same command goes on."""

from __future__ import annotations

from collections.abc import Callable

from util.logger import get_logger


def run(work: Callable[[], None]) -> int:
    """Do the work; the exit status: 0 done, 2 it cannot be done, as the log then says, 130 interrupted."""
    log = get_logger()
    try:
        work()
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted: the same command goes on from here")
        return 130
    return 0
