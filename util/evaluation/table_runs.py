"""The paper's tables made anew: find the data sets, fuse, evaluate, and set our rows under the published ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from util.evaluation.folders import Evaluation, Result, Triple, evaluate_all
from util.evaluation.metrics import Protocol
from util.evaluation.origin import origin_of
from util.evaluation.published import PublishedTable
from util.evaluation.tables import Block, Row, Table
from util.images.layouts import Dataset, MissingDataset, find_named
from util.images.named_datasets import TABLE_DATASETS
from util.images.pairs import InputError, Problem, images_by_stem
from util.run.folder import fuse_folder
from util.run.record import RunRecord
from util.run.settings import FolderSettings

log = logging.getLogger("ddfm")

Configure = Callable[[Path], FolderSettings]
"""From a fusion configuration's file to how folders are fused by it; the folders themselves are filled in here."""

DIFFER_BY_PROTOCOL: dict[Protocol, tuple[str, ...]] = {
    "ddfm": (),
    "standard": ("PSNR", "Qabf", "SSIM"),
    "zoo": ("MI", "MSE", "PSNR", "VIF", "SSIM"),
}
"""Metrics whose published values, which protocol ddfm made, are no values of a protocol."""


@dataclass(frozen=True)
class Settings:
    """What to fuse and how to measure. ``metrics``: all that any table shows; ``limit``: pairs of each data set."""

    data: Path
    out: Path
    metrics: list[str]
    protocol: Protocol
    limit: int | None = None
    workers: int = 1


@dataclass
class TableRuns:
    """Fuses and evaluates each data set with each configuration once, however many tables need it."""

    settings: Settings
    configure: Configure
    results: dict[tuple[str, Path], Result | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    incomplete: bool = False

    def table(
        self, published: PublishedTable, configs: Sequence[Path], metrics: Sequence[str] | None = None
    ) -> Table:
        """The table with a row for each fusion configuration under those published, in ``metrics``, its own or all
        that are measured. Raises KeyboardInterrupt."""
        shown = list(metrics or self.settings.metrics)
        blocks, notes = [], [published.wanting] if published.wanting else []
        for name in published.datasets:
            rows = published_rows(published, name, self.settings)
            results = self.results_of(name, configs) if name in TABLE_DATASETS else []
            available = self.count(name) if results else 0
            rows += [_row(result, available) for result in results]
            if rows:
                blocks.append(Block(name, rows))
        sets = published.datasets
        notes += _sources(published)
        notes += [self.missing[name] for name in sets if name in self.missing]
        notes += [self.choices[name] for name in sets if self.choices.get(name)]
        used = {key: self.results[key] for key in self.results if key[0] in sets and key[1] in configs}
        made = [result for result in used.values() if result]
        notes += list(dict.fromkeys(f"{result.label}: {result.origin}" for result in made))
        notes += [
            f"{config.stem} on {name} gave no result" for (name, config), made in used.items() if not made
        ]
        if differing := DIFFER_BY_PROTOCOL[self.settings.protocol]:
            notes.append(f"published values of {', '.join(differing)} are left out: protocol ddfm made them")
        if any(not row.ranked for block in blocks for row in block.rows):
            notes.append("rows made here on a part of the images are not ranked")
        return Table(published.number, published.title, shown, blocks, self.settings.protocol, notes)

    @property
    def finished(self) -> list[Result]:
        """All that was fused and measured."""
        return [result for result in self.results.values() if result]

    @property
    def exit_status(self) -> int:
        """0 when all that could be found was measured, 1 when pairs or runs failed, 2 when nothing was measured."""
        if not self.finished:
            return 2
        failed = self.incomplete or len(self.finished) < len(self.results)
        return 1 if failed or any(result.evaluation.problems for result in self.finished) else 0

    def count(self, name: str) -> int:
        return len(images_by_stem(find_named(name, self.settings.data).ir))

    def results_of(self, name: str, configs: Sequence[Path]) -> list[Result]:
        """Our rows of a data set; none when it is not there, which :attr:`missing` then tells."""
        if name in self.missing:
            return []
        try:
            dataset = find_named(name, self.settings.data)
        except InputError as error:
            log.warning(error)
            fault = "is not there" if isinstance(error, MissingDataset) else "is there several times"
            self.missing[name] = f"{name} {fault}; see {TABLE_DATASETS[name].home}"
            return []
        note = dataset.note.replace(f"{self.settings.data}/", "")  # tables should not tell where things lie
        self.choices[name] = f"{name}: {note}" if note else ""
        for config in configs:
            if (name, config) not in self.results:
                self.results[name, config] = self._make(dataset, config)
        made = [self.results[name, config] for config in configs]
        return [result for result in made if result]

    def _make(self, dataset: Dataset, config: Path) -> Result | None:
        """Fuse what is not done yet and measure it; None when nothing came out."""
        settings, what = self.settings, f"{dataset.name}, {config.stem}"
        folder = settings.out / dataset.name / config.stem
        log.info(f"{what}: fusing into {folder}")
        try:
            chosen = self.configure(config)
            limit = settings.limit or chosen.limit
            run = fuse_folder(
                dataclasses.replace(chosen, ir=dataset.ir, vi=dataset.vi, save_dir=folder, limit=limit)
            )
        except (ValueError, OSError) as error:
            log.error(f"{what}: nothing was fused: {error}")
            return None
        if run.interrupted:
            raise KeyboardInterrupt
        log.info(f"{what}: {run.summary(()).splitlines()[0]}")
        self.incomplete |= run.exit_status != 0
        triples, problems = _triples(run, dataset)
        evaluation = evaluate_all(triples, problems, settings.metrics, settings.protocol, settings.workers)
        for problem in evaluation.problems[len(problems) :]:  # the run has told the others
            log.error(f"{what}, {problem.stem}: {problem.reason}")
        if not evaluation.images:
            return None
        prior, origin = origin_of(run.description)
        kept = [triple for triple in triples if triple.stem in evaluation.images]
        return Result(dataset.name, f"{config.stem} ({prior})", evaluation, kept, origin)


def _triples(run: RunRecord, dataset: Dataset) -> tuple[list[Triple], list[Problem]]:
    """The images that this very run made or found done, not what else may lie in its folder."""
    sources = [images_by_stem(side) for side in (dataset.ir, dataset.vi)]
    triples = [
        Triple(pair.stem, Path(pair.files[-1]), *(side[pair.stem][0] for side in sources))
        for pair in sorted(run.pairs, key=lambda pair: pair.stem)
        if pair.status in ("done", "skipped")
    ]
    return triples, [Problem(pair.stem, pair.reason) for pair in run.of("failed")]


def _row(result: Result, available: int) -> Row:
    evaluation: Evaluation = result.evaluation
    count = len(evaluation.images)
    images = str(count) if count == available else f"{count} of {available}"
    values = {metric: evaluation.statistic(metric)[0] for metric in evaluation.metrics}
    return Row(result.label, "here", values, images, ranked=count == available)


def published_rows(
    published: PublishedTable, dataset: str, settings: Settings, compared: bool = True
) -> list[Row]:
    """The rows that are about that data set; ``compared``: also those of methods that a paper compares with."""
    rows = []
    for kind in ("paper", "others"):
        for row in published.rows:
            if row.kind != kind or (row.compared and not compared):
                continue
            values = {
                metric: value
                for metric, value in row.values.get(dataset, {}).items()
                if metric in settings.metrics and metric not in DIFFER_BY_PROTOCOL[settings.protocol]
            }
            if values:
                rows.append(Row(row.method, row.kind, values, str(row.images or "")))
    return rows


def _sources(published: PublishedTable) -> list[str]:
    """Which rows are from where, a line for each source."""
    by_source: dict[str, list[str]] = {}
    for row in published.rows:
        if row.values:
            by_source.setdefault(row.source, []).append(row.method)
    return [f"{', '.join(names)}: {source}" for source, names in by_source.items()]
