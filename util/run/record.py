"""The record of a run: what became of every pair, kept in ``run.json``."""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np

from util.files import write_atomically
from util.logger import duration, shown

Status = Literal["done", "skipped", "failed", "untried"]


def fingerprint(parts: Any) -> str:
    """Hex digest of a JSON-able description: the same for the same description."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass
class PairRecord:
    """What became of one pair.

    ``seconds`` is its share of its batch; ``reason`` says why it failed or, if that is known, was not tried.
    """

    stem: str
    status: Status
    reason: str = ""
    seconds: float | None = None
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class StepDone:
    """A batch has taken a step; ``lumas`` gives its states, (B, H, W) about [-1, 1], in the order of ``stems``.

    ``sample``: which of several samples, from 0; where some go together, the first of them.
    """

    stems: list[str]
    index: int
    lumas: Callable[[], np.ndarray]
    sample: int = 0


OnEvent = Callable[[StepDone | PairRecord], None]


class RunRecord:
    """Everything about one run; written as ``run.json`` after every pair, whole or not at all.

    It names what has not been tried, too, so that it is right whenever the run is ended. Without a ``path`` it is not
    written.
    """

    def __init__(self, path: Path | None, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description
        self.pairs: list[PairRecord] = []
        self.total = 0  # pairs that the run began with
        self.planned: list[str] = []  # their stems, of which the file names those that have not been tried
        self.interrupted = False
        self.stopped = ""  # why the run ended before its last pair, if it did of itself
        self.sheets: list[Path] = []  # pages with all results
        self.sheet_problem = ""  # why there is none, though one was asked for
        self._started = datetime.now(timezone.utc)
        self._clock = time.monotonic()

    def add(self, record: PairRecord) -> None:
        """Note what became of a pair and save the record."""
        self.pairs.append(record)
        self.save()

    def save(self) -> None:
        """Write the file; if that fails (disk full), say so and go on, for the images matter more."""
        try:
            self.write()
        except OSError as error:
            logging.getLogger("ddfm").warning(f"{self.path} cannot be written: {error}")

    def of(self, status: Status) -> list[PairRecord]:
        """The pairs of one status, in the order in which they ended."""
        return [record for record in self.pairs if record.status == status]

    @property
    def seconds(self) -> float:
        """Since the record was made."""
        return time.monotonic() - self._clock

    @property
    def exit_status(self) -> int:
        """0 when every pair is fused, 1 when some are not or the sheet is missing, 130 after an interruption."""
        if self.interrupted:
            return 130
        return 1 if self.of("failed") or self.stopped or self.sheet_problem else 0

    def write(self) -> None:
        """Write the file. Raises OSError."""
        if self.path is None:
            return
        content = {
            **self.description,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "counts": {status: len(self.of(status)) for status in ("done", "skipped", "failed")},
            "pairs": [asdict(record) for record in [*self.pairs, *self._untried()]],
        }
        write_atomically(self.path, (json.dumps(content, indent=2) + "\n").encode())

    def _untried(self) -> list[PairRecord]:
        ended = {record.stem for record in self.pairs}
        return [
            PairRecord(stem, "untried", "the run has not come to it")
            for stem in self.planned
            if stem not in ended
        ]

    def summary(self, where: Iterable[Path]) -> str:
        """The closing words of a run: counts, speed, where the results are, and every failed pair."""
        done, failed = self.of("done"), self.of("failed")
        counts = f"{len(done)} fused, {len(self.of('skipped'))} skipped, {len(failed)} failed"
        lines = [f"{counts} in {duration(self.seconds)}"]
        times = [record.seconds for record in done if record.seconds is not None]
        if times:
            lines[0] += f" ({duration(statistics.mean(times))} a pair)"
        lines += [shown(f"results: {path}") for path in where]
        lines += [shown(f"contact sheet: {sheet}") for sheet in self.sheets]
        if self.sheet_problem:
            lines.append(shown(f"no contact sheet: {self.sheet_problem}"))
        lines += [shown(f"failed: {record.stem}: {record.reason}") for record in failed]
        untried = self.total - len(self.pairs) + len(self.of("untried"))
        if self.stopped:
            lines.append(shown(f"stopped with {untried} not tried: {self.stopped}"))
        if self.interrupted:
            lines.append(f"interrupted with {untried} not tried: run the same command again to do the rest")
        return "\n".join(lines)
