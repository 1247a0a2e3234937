"""One run over several processes: each takes its share, the first keeps the record of all."""

from __future__ import annotations

import logging
from collections.abc import Callable

from util.images.pairs import PairFiles, Problem
from util.ranks import World
from util.run.messages import Inbox, Outbox
from util.run.record import PairRecord, RunRecord

log = logging.getLogger("ddfm")


class SharedRun:
    """This process's part of a run: its ``pairs`` and ``problems``, and the ``record`` to keep of them.

    ``record``: of the run, which rank 0 keeps; the others report to it. ``divide`` makes the shares, on rank 0.
    ``elsewhere``: pairs that other processes take. ``inbox``: what they tell rank 0; None elsewhere and alone.
    Raises OSError when a process has died before the start, ValueError or OSError as ``divide`` does.
    """

    def __init__(
        self,
        world: World,
        record: RunRecord,
        pairs: list[PairFiles],
        problems: list[Problem],
        divide: Callable[[list[PairFiles], int], list[list[PairFiles]]],
    ) -> None:
        self.world = world
        self.shares = [pairs]
        if world.size > 1:
            with world.stage():
                shares = divide(pairs, world.size) if world.first else []
            self.shares = world.gather(shares)[0]  # from one process, for others may see other files
        self.pairs = self.shares[world.rank]
        self.problems = problems if world.first else []
        self.elsewhere = sum(map(len, self.shares)) - len(self.pairs) if world.first else 0
        self.record = record if world.first else Outbox()
        if world.first:
            record.planned = [*(problem.stem for problem in problems), *(files.stem for files in pairs)]
            record.save()
        self.inbox = Inbox(range(1, world.size)) if world.first and world.size > 1 else None

    def complete(self) -> None:
        """On rank 0, when all have ended: add what they did not come to, put pairs in order, write the record."""
        if self.inbox is None:
            return
        tried = {pair.stem for pair in self.record.pairs}
        reasons = {rank: self._reason(rank) for rank in range(self.world.size)}
        for rank, share in enumerate(self.shares):
            missing = [files.stem for files in share if files.stem not in tried]
            self.record.pairs += [PairRecord(stem, "untried", reasons[rank]) for stem in missing]
        self.record.interrupted |= any(end.interrupted for end in self.inbox.ends.values())
        stops = [self.record.stopped, *(end.stopped for end in self.inbox.ends.values())]
        stops += [reasons[rank] for rank in sorted(self.inbox.lost)]
        self.record.stopped = "; ".join(dict.fromkeys(filter(None, stops)))
        self.record.pairs.sort(key=lambda pair: pair.stem)
        self.record.save()

    def _reason(self, rank: int) -> str:
        """Why a process did not come to all of its pairs, if it did not."""
        if self.inbox is not None and rank in self.inbox.lost:
            return f"rank {rank} of {self.world.size} has died; run the same command again to do its rest"
        ended = self.inbox.ends.get(rank) if self.inbox is not None else None
        return (ended.stopped if ended else self.record.stopped) or "interrupted"

    def exit_status(self) -> int:
        """Of the run, the same on every process; call it last."""
        if isinstance(self.record, Outbox):
            status = self.record.close()
            if status is None:
                log.error(
                    "rank 0 has died: finished images are kept, but run.json does not tell of all of them"
                )
            return 1 if status is None else status
        if self.inbox is not None:
            self.inbox.reply(self.record.exit_status)
        return self.record.exit_status
