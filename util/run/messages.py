"""What the other processes of a run tell the first one: every pair as it ends, and how their share ended.

Messages are sent and received in threads: signals interrupt the main one only, so that none is cut in two, and
nobody's computing waits. A connection that breaks means that the process at its other end has died.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from util.run.record import PairRecord, RunRecord

_POLL = 0.2  # seconds between looks at what else may have happened
_TAG = 1


def _send(content: bytes, rank: int) -> None:
    dist.send(torch.tensor([len(content)]), rank, tag=_TAG)
    if content:
        dist.send(torch.frombuffer(bytearray(content), dtype=torch.uint8), rank, tag=_TAG)


def _receive(rank: int) -> bytes:
    size = torch.zeros(1, dtype=torch.int64)
    dist.recv(size, rank, tag=_TAG)
    content = torch.zeros(int(size), dtype=torch.uint8)
    if len(content):
        dist.recv(content, rank, tag=_TAG)
    return content.numpy().tobytes()


@dataclass(frozen=True)
class ShareEnd:
    """How a process came to the end of its share."""

    interrupted: bool = False
    stopped: str = ""


class Outbox(RunRecord):
    """The record of a share, in the place of the run's: it writes no file but reports to rank 0."""

    def __init__(self) -> None:
        super().__init__(path=None, description={})
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._status: int | None = None
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self._thread.start()

    def add(self, record: PairRecord) -> None:
        super().add(record)
        self._messages.put({"pair": asdict(record)})

    def close(self) -> int | None:
        """Report the end and wait for the exit status of the run; None when rank 0 has died.

        To be called :func:`~util.process.undisturbed`: who interrupts this process tells rank 0 as well.
        """
        self._messages.put({"end": asdict(ShareEnd(self.interrupted, self.stopped))})
        self._messages.put(None)
        self._thread.join()
        return self._status

    def _deliver(self) -> None:
        try:
            while (message := self._messages.get()) is not None:
                _send(json.dumps(message).encode(), 0)
            self._status = int(_receive(0))
        except RuntimeError:
            return


class Inbox:
    """What rank 0 hears of ``ranks``. ``ends``: of those that have ended; ``lost``: those that have died."""

    def __init__(self, ranks: range) -> None:
        self.ends: dict[int, ShareEnd] = {}
        self.lost: set[int] = set()
        self._messages: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._running = set(ranks)
        for rank in ranks:
            threading.Thread(target=self._listen, args=(rank,), daemon=True).start()

    def _listen(self, rank: int) -> None:
        try:
            while True:
                message = json.loads(_receive(rank))
                self._messages.put((rank, message))
                if "end" in message:
                    return
        except (RuntimeError, ValueError):
            self._messages.put((rank, None))

    def news(self) -> Iterator[tuple[int, PairRecord]]:
        """Pairs that have ended since the last call, each with the rank that took it; does not wait."""
        while True:
            try:
                pair = self._note(*self._messages.get_nowait())
            except queue.Empty:
                return
            if pair is not None:
                yield pair

    def rest(self) -> Iterator[tuple[int, PairRecord]]:
        """The same until all have ended or died."""
        while self._running:
            try:
                pair = self._note(*self._messages.get(timeout=_POLL))
            except queue.Empty:
                continue
            if pair is not None:
                yield pair

    def _note(self, rank: int, message: dict[str, Any] | None) -> tuple[int, PairRecord] | None:
        if message is not None and "pair" in message:
            return rank, PairRecord(**message["pair"])
        self._running.discard(rank)
        if message is None:
            self.lost.add(rank)
        else:
            self.ends[rank] = ShareEnd(**message["end"])
        return None

    def reply(self, status: int) -> None:
        """Tell the exit status of the run to all who still live."""
        for rank in self.ends:
            try:
                _send(str(status).encode(), rank)
            except RuntimeError:  # it has died since
                continue
