"""Taking pairs through a run: batches of one size, one bad pair costing only itself, and the record of it all."""

from __future__ import annotations

import errno
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from util.image_io import ValueRange
from util.logger import PairRecord, RunRecord
from util.pairs import FitMode, Pair, PairFiles, Problem, fitted_size, load_pair
from util.results import ResultWriter

OnStep = Callable[[int, Callable[[], np.ndarray]], None]
FuseBatch = Callable[[list[Pair], OnStep], np.ndarray]

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger("ddfm")


class StopRun(Exception):
    """Nothing more can be done in this run; the message says why and what to do."""


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its pairs. ``steps`` is the number of steps that every pair takes."""

    steps: int
    fit: FitMode
    ir_range: ValueRange | None = None
    vi_range: ValueRange | None = None
    batch_size: int = 1
    overwrite: bool = False
    record_steps: bool = False
    quiet: bool = False


class Runner:
    """Fuses batch after batch, keeping the record and the progress bar.

    ``fuse`` takes pairs of one fitted size and a callback, and returns their fused lumas (B, H, W), not
    stretched; after each step it calls the callback with the step's index and a function that gives the lumas
    of the state.
    """

    def __init__(self, fuse: FuseBatch, writer: ResultWriter, record: RunRecord, options: RunOptions) -> None:
        self.fuse, self.writer, self.record, self.options = fuse, writer, record, options
        disable = True if options.quiet else None
        self.bar = tqdm(total=0, unit="step", disable=disable, smoothing=0.05)

    def run(self, pairs: list[PairFiles], problems: list[Problem]) -> None:
        """Take every pair to its end; what stops the run early is noted in the record."""
        self.record.total = len(pairs) + len(problems)
        self.bar.total = self.record.total * self.options.steps
        try:
            for problem in problems:
                self._fail(problem)
            for batch in self._batches(pairs):
                self._run_batch(batch)
        except StopRun as stop:
            log.error(stop)
            self.record.stopped = str(stop)
        except KeyboardInterrupt:
            self.record.interrupted = True
        finally:
            self.bar.close()
            self.record.save()

    def _batches(self, pairs: Iterable[PairFiles]) -> Iterator[list[Pair]]:
        """The pairs to fuse, in batches of one fitted size."""
        options = self.options
        waiting: dict[tuple[int, int], list[Pair]] = defaultdict(list)
        for files in pairs:
            try:
                pair = load_pair(files, options.ir_range, options.vi_range)
            except ValueError as error:
                self._fail(Problem(files.stem, str(error)))
                continue
            if self._skip(pair):
                continue
            group = waiting[fitted_size(pair.size, options.fit)]
            group.append(pair)
            if len(group) == options.batch_size:
                yield group.copy()
                group.clear()
        yield from (group for group in waiting.values() if group)

    def _fail(self, problem: Problem) -> None:
        log.error(f"{problem.stem}: {problem.reason}")
        self.record.add(PairRecord(problem.stem, "failed", problem.reason))
        self._forget_pair()

    def _skip(self, pair: Pair) -> bool:
        """Whether the pair's results are there already; if so, note it."""
        if self.options.overwrite or not self.writer.is_done(pair):
            return False
        log.info(f"{pair.stem}: skipped, its result is there (--overwrite makes it anew)")
        self.record.add(PairRecord(pair.stem, "skipped", files=[str(self.writer.recon_path(pair))]))
        self._forget_pair()
        return True

    def _forget_pair(self) -> None:
        self.bar.total = max(0, (self.bar.total or 0) - self.options.steps)
        self.bar.refresh()

    def _run_batch(self, pairs: list[Pair]) -> None:
        """Fuse a batch; if that fails, each of its pairs alone, so that one bad pair costs only itself."""
        self.bar.set_description(", ".join(pair.stem for pair in pairs)[:40])
        before, started = self.bar.n, time.monotonic()
        try:
            lumas = self._fuse(pairs)
        except Exception as error:
            self.bar.n = before
            _stop_if_full(error)
            if len(pairs) > 1:
                log.warning(f"a batch of {len(pairs)} failed ({error}), trying its pairs one by one")
                for pair in pairs:
                    self._run_batch([pair])
                return
            if not isinstance(error, RuntimeError | OSError | MemoryError | ArithmeticError):
                log.error("this should not happen", exc_info=True)
            self._fail(Problem(pairs[0].stem, f"{type(error).__name__}: {error}"))
            return
        seconds = (time.monotonic() - started) / len(pairs)
        for pair, luma in zip(pairs, lumas, strict=True):
            self._write(pair, luma, seconds)

    def _fuse(self, pairs: list[Pair]) -> np.ndarray:
        """Fused lumas (B, H, W) of a batch."""
        if self.options.record_steps:
            for pair in pairs:
                self.writer.start_progress(pair)

        def on_step(index: int, lumas: Callable[[], np.ndarray]) -> None:
            self.bar.update(len(pairs))
            if self.options.record_steps:
                for pair, luma in zip(pairs, lumas(), strict=True):
                    self.writer.write_progress(pair, index, luma)

        return self.fuse(pairs, on_step)

    def _write(self, pair: Pair, luma: np.ndarray, seconds: float) -> None:
        try:
            files = [str(path) for path in self.writer.write(pair, luma)]
        except OSError as error:
            self._fail(Problem(pair.stem, f"its result cannot be written: {error}"))
            _stop_if_full(error)
            return
        log.info(f"{pair.stem}: {seconds:.1f} s, {files[-1]}")
        self.record.add(PairRecord(pair.stem, "done", seconds=round(seconds, 3), files=files))


def _stop_if_full(error: Exception) -> None:
    """A full disk fails every pair alike: better to stop than to compute what cannot be kept."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        raise StopRun(
            f"the disk is full ({error}); make room and run the same command again, finished pairs are kept"
        ) from error
