"""Work shared out to processes, which start quickly, run nothing of the main script, and end with this one.

Those of ``multiprocessing`` import the main script once more, and with it whatever a notebook or an unguarded script
of a user does; they print where Ctrl-C met them, and stay behind when this process is killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_GONE = (OSError, EOFError, pickle.UnpicklingError, ValueError)
"""What talking to a process raises that has ended; ValueError: another thread has closed its pipes."""


class _Lost(Exception):
    """The process ended while it worked."""


def _nothing() -> None:
    """What a process does before the work where nothing is to be prepared."""


def share_out(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    count: int,
    lost: Callable[[Item], Result],
    prepare: Callable[[], object] = _nothing,
) -> Iterator[Result]:
    """``function`` of all items in their order, by this process and ``count`` - 1 others.

    The others import ``function`` and ``prepare``, which each calls first, by their names (a ``partial`` of such will
    do); this process starts at once, so that little is lost while they come. ``lost``: what stands for the result of
    an item at which a process was ended, as by a system that is short of memory. Where none can be started, threads
    do the work. Raises what ``function`` raises here, and RuntimeError with the traceback of what was raised there.
    """
    hands: SimpleQueue[Callable[[Item], Result]] = SimpleQueue()
    hands.put(function)
    helpers = [_Helper(function, prepare) for _ in range(count - 1)]
    starting = [Thread(target=lambda one=one: hands.put(one.ready()), daemon=True) for one in helpers]
    ended = Event()

    def work(item: Item) -> Result:
        hand = hands.get()
        try:
            if ended.is_set():
                raise _Lost
            return hand(item)
        except _Lost:
            return lost(item)
        finally:
            hands.put(hand)

    for thread in starting:
        thread.start()
    pool = ThreadPoolExecutor(count)
    try:
        yield from pool.map(work, items)
    finally:
        ended.set()
        for helper in helpers:
            helper.end()
        pool.shutdown(cancel_futures=True)
        for thread in starting:
            thread.join()


class _Helper(Generic[Item, Result]):
    """A process that applies the function; another takes its place when it is ended."""

    def __init__(self, function: Callable[[Item], Result], prepare: Callable[[], object]) -> None:
        self.function, self.prepare = function, prepare
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = False

    def ready(self) -> Callable[[Item], Result]:
        """Itself once its process can work, or the function for a thread of this process where none can be had."""
        try:
            self._start()
        except _GONE:
            self._stop()
            return self.function
        return self

    def __call__(self, item: Item) -> Result:
        if self.process is None and self.ready() is not self:
            return self.function(item)
        try:
            self._send(item)
            done, answer = self._receive()
        except _GONE as error:
            self._stop()
            raise _Lost from error
        if not done:
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        self.ended = True
        self._stop()

    def _start(self) -> None:
        if self.ended or not sys.executable or getattr(sys, "frozen", False):
            raise OSError("no interpreter to start")
        code = (
            f"import sys; sys.path[:] = {list(map(str, sys.path))}; from util.workers import serve; serve()"
        )
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **single},
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        )
        self._send((self.prepare, self.function))
        self._receive()
        if self.ended:
            raise EOFError

    def _send(self, message: object) -> None:
        content, process = pickle.dumps(message, pickle.HIGHEST_PROTOCOL), self.process
        if process is None or process.stdin is None:
            raise EOFError
        process.stdin.write(content)
        process.stdin.flush()

    def _receive(self) -> Any:
        process = self.process
        if process is None or process.stdout is None:
            raise EOFError
        return pickle.load(process.stdout)

    def _stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what is left in its buffer has no reader any more
                if pipe is not None:
                    pipe.close()


def serve() -> None:
    """What such a process does: answer one item after another, until the process that started it is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing that is printed gets among the answers

    def answer(done: bool, value: object) -> None:
        pickle.dump((done, value), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()

    with suppress(*_GONE):
        prepare, function = pickle.load(sys.stdin.buffer)
        prepare()
        answer(True, None)
        while True:
            item = pickle.load(sys.stdin.buffer)
            try:
                value = function(item)
            except Exception:
                answer(False, traceback.format_exc())
            else:
                answer(True, value)
