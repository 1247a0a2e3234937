"""What a run says: messages on standard error, one line each, whatever is in them."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from tqdm import tqdm

_LONGEST = 4000  # characters of a message


def shown(text: object) -> str:
    """As text that a terminal shows and does not obey: control characters, of names and of servers, are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in str(text)
    )


def duration(seconds: float) -> str:
    """A time in words: in milliseconds below a second."""
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


class LenientStream:
    """A stream for progress that is no reason to stop: what it cannot take any more is lost."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full, closed, never open
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()


class _Formatter(logging.Formatter):
    """One line for each message; only tracebacks have more."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        message = shown(record.message)
        if len(message) > _LONGEST:
            message = f"{message[:_LONGEST]} ... ({len(message):,} characters)"
        return f"{record.levelname}: {self.who}{message}"

    def __init__(self, who: str) -> None:
        super().__init__()
        self.who = who


class _BarHandler(logging.Handler):
    """Writes above a progress bar instead of through it. Where nobody listens any more, work goes on in silence."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=LenientStream(sys.stderr))


def get_logger(quiet: bool = False, rank: int = 0) -> logging.Logger:
    """The project's logger, writing to standard error; ``quiet`` leaves warnings and errors.

    ``rank`` of several processes: all but the first say who they are, and only what ``quiet`` leaves.
    """
    logger = logging.getLogger("ddfm")
    logger.setLevel(logging.WARNING if quiet or rank else logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = _BarHandler()
        handler.setFormatter(_Formatter(f"rank {rank}: " if rank else ""))
        logger.addHandler(handler)
    return logger
