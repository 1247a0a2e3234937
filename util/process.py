"""How the process behaves: what ends it, what it may print, and what becomes of what nobody can read."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; one that is ignored, as by nohup, stays so."""
    for name in ("SIGTERM", "SIGHUP"):  # the second is not known everywhere
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def noted_signals(numbers: Iterable[int]) -> Iterator[list[int]]:
    """These signals are put into the list that is given, instead of ending the body or being raised in it.

    Python tells signals to the main thread alone: in another one nothing changes.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    old = {number: signal.signal(number, lambda number, _frame: caught.append(number)) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def undisturbed() -> Iterator[list[int]]:
    """For what tells how a run went, and is short: signals that would raise KeyboardInterrupt are noted alone.

    torchrun sends one to the processes that are left as soon as another has died, just when that is to be told.
    """
    known = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    raising = [
        number
        for number in known
        if number is not None and signal.getsignal(number) is signal.default_int_handler
    ]
    with noted_signals(raising) as caught:
        yield caught


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
