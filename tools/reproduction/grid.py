"""Runs over data sets, variants, samplers and steps, and their metrics as Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.local.em import Local
from util.evaluation.folders import Result, mean_of
from util.evaluation.metrics import PAPER_METRICS
from util.evaluation.published import PublishedTable
from util.evaluation.table_runs import Settings, TableRuns, published_rows
from util.evaluation.tables import printed
from util.markdown import markdown_rows
from util.prior import read_config
from util.run.settings import FolderSettings

DATASETS = ("RoadScene", "TNO", "MRI-CT", "MRI-PET")
LOCAL = ("local", "local_fast")
VARIANTS = ("released", "paper", *LOCAL)
ALONE = "alone"


@dataclass(frozen=True)
class Run:
    """One way of fusing: ``sampler`` may be ``alone`` (no prior). ``limit``: only the first pairs of each set."""

    variant: str
    sampler: str
    steps: int
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Run:
        """``variant:sampler:steps[:limit]``. Raises ValueError."""
        parts = text.split(":")
        known = (
            len(parts) in (3, 4) and parts[0] in VARIANTS and parts[1] in (ALONE, "ddim", "ddpm", "dpmpp_2m")
        )
        if parts[:2] == ["local_fast", ALONE] and parts[2:3] != ["1"]:
            raise ValueError(f"{text}: local_fast alone is a closed form of 1 step: local_fast:alone:1")
        if not known or not all(number.isdecimal() and int(number) for number in parts[2:]):
            raise ValueError(
                f"{text} is not variant:sampler:steps[:limit], such as released:ddim:25 or paper:alone:100"
            )
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]) if len(parts) == 4 else None)

    def config(self, root: Path) -> Path:
        """The fusion configuration in the project at ``root``."""
        if self.variant in LOCAL:
            return root / f"configs/fusion_config_{self.variant}.yaml"
        return root / f"configs/ablation/{'exp_1' if self.sampler == ALONE else 'ours'}_{self.variant}.yaml"

    def fusion(self, config: Path) -> FusionConfig:
        """What ``config`` says; the local variants as clean sources ask for: no prior alone, and no denoising."""
        fusion: FusionConfig = read_config(FusionConfig, config)
        if self.variant not in LOCAL:
            return fusion
        em = fusion.em
        if isinstance(em, Local) and self.sampler == ALONE:
            em = dataclasses.replace(em, steps=self.steps)
        return dataclasses.replace(fusion, em=em, prior=self.sampler != ALONE, noise="off")

    @property
    def label(self) -> str:
        if (self.variant, self.sampler) == ("local_fast", ALONE):
            return "local_fast, closed form"
        sampler = "EM alone" if self.sampler == ALONE else self.sampler
        return f"{self.variant}, {sampler}, {self.steps} {'iterations' if self.sampler == ALONE else 'steps'}"


@dataclass
class Grid:
    """Fuses and measures each run on each data set once; finished images of an earlier time are kept.

    ``model_config``: the prior, as :func:`~util.prior.open_prior` takes it.
    """

    data: Path
    out: Path
    root: Path
    model_config: Path | None = None
    workers: int = 1
    results: dict[tuple[str, Run], Result] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, run: Run, datasets: Sequence[str]) -> None:
        """Make the results of a run. Raises KeyboardInterrupt, ValueError."""
        sampler = "ddim" if run.sampler == ALONE else run.sampler
        shipped: DiffusionConfig = read_config(DiffusionConfig, self.root / "configs/diffusion_config.yaml")
        diffusion = dataclasses.replace(shipped, sampler=sampler, timestep_respacing=run.steps)

        def configure(config: Path) -> FolderSettings:
            return FolderSettings(
                save_dir=self.out,
                model_config=self.model_config,
                diffusion=diffusion,
                fusion=run.fusion(config),
                quiet=True,
            )

        out = self.out / f"{sampler}_{run.steps}"
        settings = Settings(self.data, out, PAPER_METRICS, "ddfm", run.limit, self.workers)
        runs = TableRuns(settings, configure)
        for dataset in datasets:
            for result in runs.results_of(dataset, [run.config(self.root)]):
                self.results[dataset, run] = result
                self.counts[dataset] = runs.count(dataset)
        self.missing |= runs.missing

    def of(self, dataset: str) -> dict[Run, Result]:
        """The results of a data set by run."""
        return {run: result for (name, run), result in self.results.items() if name == dataset}

    def alone(self, dataset: str, variant: str) -> list[Result]:
        """The results of EM alone in a variant."""
        runs = self.of(dataset).items()
        return [result for run, result in runs if (run.sampler, run.variant) == (ALONE, variant)]


def grid_table(grid: Grid, published: Mapping[int | str, PublishedTable]) -> str:
    """Six metrics of every run on every data set, under what the paper and others printed."""
    parts = []
    settings = Settings(grid.data, grid.out, PAPER_METRICS, "ddfm")
    for dataset in DATASETS:
        runs = grid.of(dataset)
        if not runs:
            continue
        rows = [[dataset, "images", *PAPER_METRICS]]
        for row in [
            row
            for table in (1, 2)
            for row in published_rows(published[table], dataset, settings, compared=False)
        ]:
            line = [
                f"*{row.label}*",
                row.images or "?",
                *(printed(row.values.get(name)) for name in PAPER_METRICS),
            ]
            if line not in rows:
                rows.append(line)
        rows += [_row(grid, dataset, run, result) for run, result in runs.items()]
        parts.append(markdown_rows(*rows))
    return "\n\n".join(parts)


def alone_table(grid: Grid) -> str:
    """Six metrics of every run without a prior, on every data set."""
    parts = []
    for dataset in DATASETS:
        rows = [[dataset, "images", *PAPER_METRICS]]
        for run, result in grid.of(dataset).items():
            if run.sampler == ALONE:
                rows.append(_row(grid, dataset, run, result))
        if len(rows) > 1:
            parts.append(markdown_rows(*rows))
    return "\n\n".join(parts)


def _row(grid: Grid, dataset: str, run: Run, result: Result) -> list[str]:
    images = len(result.evaluation.images)
    count = str(images) if images == grid.counts[dataset] else f"{images} of {grid.counts[dataset]}"
    values = [result.evaluation.statistic(name)[0] for name in PAPER_METRICS]
    return [run.label, count, *map(printed, values)]


def shared_table(grid: Grid) -> str:
    """The same over the pairs that all runs with a prior share, with a third digit: what more steps change."""
    parts = []
    for dataset in DATASETS:
        runs = grid.of(dataset)
        with_prior = [set(result.evaluation.images) for run, result in runs.items() if run.sampler != ALONE]
        stems = sorted(set.intersection(*with_prior)) if len(with_prior) > 1 else []
        if not stems:
            continue
        rows = [[f"{dataset}, {len(stems)} pairs", *PAPER_METRICS]]
        for run, result in runs.items():
            if set(stems) <= set(result.evaluation.images):
                mean = mean_of([result.evaluation.images[stem] for stem in stems])
                rows.append([run.label, *(f"{mean[name]:.3f}" for name in PAPER_METRICS)])
        parts.append(markdown_rows(*rows))
    return "\n\n".join(parts)


def beside_table(grid: Grid) -> str:
    """Every run with a prior beside EM alone of the same variant on the same pairs."""
    names = ("VIF", "Qabf", "SSIM")
    rows = [["", "pairs", *(cell for name in names for cell in (name, "EM alone"))]]
    for (dataset, run), result in grid.results.items():
        scores = result.evaluation.images
        alone = {
            stem: score
            for made in grid.alone(dataset, run.variant)
            for stem, score in made.evaluation.images.items()
        }
        if run.sampler == ALONE or not alone.keys() >= scores.keys():
            continue
        means = mean_of(list(scores.values())), mean_of([alone[stem] for stem in scores])
        cells = (f"{mean[name]:.3f}" for name in names for mean in means)
        rows.append([f"{dataset}, {run.label}", str(len(scores)), *cells])
    return markdown_rows(*rows)
