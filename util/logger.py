"""What a run says: messages on standard error."""

from __future__ import annotations

import logging
import sys

from tqdm import tqdm


class _BarHandler(logging.Handler):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def get_logger(quiet: bool = False, rank: int = 0) -> logging.Logger:
    """The project's logger, writing to standard error; ``quiet`` leaves warnings and errors.

    ``rank`` of several processes: all but the first say who they are, and only what ``quiet`` leaves.
    """
    logger = logging.getLogger("ddfm")
    logger.setLevel(logging.WARNING if quiet or rank else logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = _BarHandler()
        who = f"rank {rank}: " if rank else ""
        handler.setFormatter(logging.Formatter(f"%(levelname)s: {who}%(message)s"))
        logger.addHandler(handler)
    return logger
