"""Taking pairs through a run: batches of one size, one bad pair costing only itself, and the record of it all."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from tqdm import tqdm

from util.images.pairs import Pair, PairFiles, Problem, fitted_size, in_order_of_size, load_pair
from util.images.registration.applying import registered
from util.logger import LenientStream, duration, shown
from util.memory import MemoryPlan, free_memory, ran_out_of_memory
from util.process import undisturbed
from util.run.batching import BatchSizes, take_all
from util.run.failures import LESS_MEMORY, StopRun, stop_if_full
from util.run.messages import Inbox
from util.run.options import FuseBatch, RunOptions
from util.run.record import OnEvent, PairRecord, RunRecord, StepDone
from util.run.results import FusedPair, ResultWriter

log = logging.getLogger("ddfm")


class Runner:
    """Fuses batch after batch, keeping the record and the progress bar.

    ``fuse`` takes pairs of one fitted size and a callback, which it calls after each step, and returns what becomes
    of each. ``inbox``: what the other processes of the run tell this one, if there are any. ``on_event`` is told of
    every step and pair.
    """

    def __init__(
        self,
        fuse: FuseBatch,
        writer: ResultWriter,
        record: RunRecord,
        options: RunOptions,
        inbox: Inbox | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.fuse, self.writer, self.record, self.options, self.inbox = fuse, writer, record, options, inbox
        self.on_event = on_event or (lambda event: None)
        self.plan = MemoryPlan(options.memory_share)
        self.sizes = BatchSizes(options.batch_size, self.plan.fits)
        disable = True if options.quiet else None
        self.bar = tqdm(total=0, unit="step", disable=disable, smoothing=0.05, file=LenientStream(sys.stderr))

    def run(self, pairs: list[PairFiles], problems: list[Problem]) -> None:
        """Take every pair to its end; what stops the run early is noted in the record."""
        self.record.total = len(pairs) + len(problems) + self.options.elsewhere
        self.bar.total = self.record.total * self.options.steps
        try:
            for problem in problems:
                self._fail(problem)
            for group in self._groups(pairs):
                take_all(group, self._size(group[0]), self.sizes, self._attempt)
        except StopRun as stop:
            log.error(stop)
            self.record.stopped = str(stop)
        except KeyboardInterrupt:
            self.record.interrupted = True
        finally:
            with undisturbed() as signals:  # an interruption reaches the others too, and they end soon
                if self.inbox is not None:
                    self._hear(self.inbox.rest())
                self.record.interrupted |= bool(signals)
                self.bar.close()
                self.record.save()

    def _hear(self, news: Iterable[tuple[int, PairRecord]]) -> None:
        """Note what other processes have done."""
        for rank, pair in news:
            if pair.status == "done":
                self.bar.update(self.options.steps)
                log.info(f"rank {rank}: {pair.stem}: {duration(pair.seconds or 0)}, {pair.files[-1]}")
            else:
                self._forget_pair()
            self._note(pair)

    def _groups(self, pairs: list[PairFiles]) -> Iterator[list[Pair]]:
        """The pairs to fuse, in groups of one fitted size, each as large as one batch."""
        options, group = self.options, list[Pair]()
        for files in in_order_of_size(pairs, options.fit) if options.batch_size != 1 else pairs:
            try:
                pair = load_pair(files, options.ranges, options.max_pixels, options.register == "off")
            except ValueError as error:
                self._fail(Problem(files.stem, str(error)))
                continue
            if self._skip(pair):
                continue
            try:
                pair = registered(pair, options.register)
            except ValueError as error:
                self._fail(Problem(files.stem, str(error)))
                continue
            if group and self._size(group[0]) != self._size(pair):
                yield group
                group = []
            group.append(pair)
            if len(group) >= self.sizes.count(self._size(pair)):
                yield group
                group = []
        if group:
            yield group

    def _size(self, pair: Pair) -> tuple[int, int]:
        return fitted_size(pair.size, self.options.fit)

    def _fail(self, problem: Problem) -> None:
        log.error(f"{problem.stem}: {problem.reason}")
        self._note(PairRecord(problem.stem, "failed", problem.reason))
        self._forget_pair()

    def _skip(self, pair: Pair) -> bool:
        """Whether the pair's results are there already; if so, note it."""
        if self.options.overwrite or not self.writer.is_done(pair, self.options.record_steps):
            return False
        log.info(f"{pair.stem}: skipped, its result is there (--overwrite makes it anew)")
        self._note(PairRecord(pair.stem, "skipped", files=[str(self.writer.recon_path(pair))]))
        self._forget_pair()
        return True

    def _note(self, pair: PairRecord) -> None:
        """Keep what became of a pair, and tell of it."""
        self.record.add(pair)
        self.on_event(pair)

    def _forget_pair(self) -> None:
        self.bar.total = max(0, (self.bar.total or 0) - self.options.steps)
        self.bar.refresh()

    def _attempt(self, pairs: list[Pair]) -> float | None:
        """Fuse a batch and write its results; the seconds it takes (0: it failed), or None when memory ran out.

        If it fails otherwise, each of its pairs is tried alone, so that one bad pair costs only itself.
        """
        self.bar.set_description(shown(", ".join(pair.stem for pair in pairs))[:40])
        before, started = self.bar.n, time.monotonic()
        try:
            results, steps_done = self._fuse(pairs)
        except Exception as error:
            self.bar.n = before
            stop_if_full(error)
            short_of_memory, reason = ran_out_of_memory(error), f"{type(error).__name__}: {error}"
            expected = isinstance(error, RuntimeError | OSError | MemoryError | ArithmeticError)
            if len(pairs) == 1 and not expected:
                log.error("this should not happen", exc_info=True)
        else:
            ended = time.monotonic()
            self.bar.n = before + len(pairs) * self.options.steps  # fewer where samples would not differ
            for pair, fused in zip(pairs, results, strict=True):
                self._write(pair, fused, (ended - started) / len(pairs))
            height, width = self._size(pairs[0])
            self.plan.learn(len(pairs) * height * width)
            return _seconds_without_start(started, steps_done, ended)
        # The error is gone now, and with it the frames that held the tensors of the batch.
        if short_of_memory:
            free_memory()
        if len(pairs) == 1:
            self._fail(Problem(pairs[0].stem, f"{reason}{LESS_MEMORY * short_of_memory}"))
        elif not short_of_memory:
            self._one_by_one(pairs, reason)
        return None if short_of_memory else 0.0

    def _one_by_one(self, pairs: list[Pair], reason: str) -> None:
        log.warning(f"a batch of {len(pairs)} failed ({reason}), trying its pairs one by one")
        failed = len(self.record.of("failed"))
        for pair in pairs:
            self._attempt([pair])
        if len(self.record.of("failed")) == failed:  # it was the batch, not one of its pairs
            self.sizes.ran_out(self._size(pairs[0]), len(pairs), "they failed in batches of")

    def _fuse(self, pairs: list[Pair]) -> tuple[list[FusedPair], list[float]]:
        """What becomes of each pair of a batch, and when each step was done (time.monotonic)."""
        steps_done: list[float] = []
        if self.options.record_steps:
            for pair in pairs:
                self.writer.start_progress(pair)

        def on_step(index: int, lumas: Callable[[], np.ndarray], sample: int, together: int) -> None:
            self.bar.update(len(pairs) * together)
            steps_done.append(time.monotonic())
            self.on_event(StepDone([pair.stem for pair in pairs], index, lumas, sample))
            if self.inbox is not None:
                self._hear(self.inbox.news())
            if self.options.record_steps and sample == 0:
                for pair, luma in zip(pairs, lumas(), strict=True):
                    self.writer.write_progress(pair, index, luma)

        return self.fuse(pairs, on_step), steps_done

    def _write(self, pair: Pair, fused: FusedPair, seconds: float) -> None:
        try:
            files = [str(path) for path in self.writer.write(pair, fused)]
        except OSError as error:
            self._fail(Problem(pair.stem, f"its result cannot be written: {error}"))
            stop_if_full(error)
            return
        log.info(f"{pair.stem}: {duration(seconds)}, {files[-1]}")
        self._note(PairRecord(pair.stem, "done", seconds=round(seconds, 3), files=files))


def _seconds_without_start(started: float, steps_done: list[float], ended: float) -> float:
    """What a batch takes when its first step, which compiles and takes memory, is like the others."""
    others = len(steps_done) - 1
    if others < 1:
        return ended - started
    return (ended - steps_done[0]) * (1 + 1 / others)
