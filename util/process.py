"""How the process behaves: what ends it, what it may print, and what becomes of what nobody can read."""

from __future__ import annotations

import io
import os
import signal
import sys


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; one that is ignored, as by nohup, stays so."""
    for name in ("SIGTERM", "SIGHUP"):  # the second is not known everywhere
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def print_any_name() -> None:
    """Escape what the terminal cannot show, for names of files may hold anything; open what was closed before us."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # takes the lowest number, so that no image becomes stream 2; what is said on standard output still fails
            nowhere = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            setattr(sys, name, os.fdopen(nowhere, "r" if number == 0 else "w", encoding="utf-8"))
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> str:
    """Print to standard output, now; returns why it cannot be (full, closed), or nothing."""
    try:
        print(text, flush=True)  # noqa: T201
        return ""
    except OSError as error:
        if isinstance(sys.stdout, io.TextIOWrapper):  # what is left in its buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error.strerror or str(error)
