"""What a run is to do, and that once it has been checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion import iteration_count, step_count
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.rectification import describe
from guided_diffusion.samplers import Sampler
from util.files import project_root
from util.images.image_io import ValueRange
from util.images.pairs import PairFiles, Problem
from util.prior import LoadedPrior
from util.run.batching import BatchSize
from util.run.out_layout import OUT_SIDES, OutLayout, Side
from util.run.recording import RECORD_FORMS, RecordForm


@dataclass(frozen=True)
class FolderSettings:
    """What to fuse and how; the flags of ``sample.py`` by the same names, whose ``--help`` explains them.

    ``input`` holds the folders ``ir`` and ``vi``, or is a data set as distributed; ``ir`` and ``vi`` name them
    singly, or are the files of one pair, whose result goes to the file ``output`` if that is given; ``sources`` names
    2 to 8 folders, or files, instead. ``match`` says which files of folders belong together, as
    :func:`~util.images.matching.parse_matching` takes it. ``save_dir``: where results go. ``model_config``: as
    :func:`~util.prior.open_prior` takes it. ``command``: what is kept of the command line in ``run.json``.
    """

    save_dir: Path
    input: Path = field(default_factory=lambda: project_root() / "input")
    ir: Path | None = None
    vi: Path | None = None
    output: Path | None = None
    sources: Sequence[Path] = ()
    match: str = "stem"
    model_config: Path | str | None = None
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    device: str = "auto"
    gpu: int | None = None
    batch_size: BatchSize = 1
    limit: int | None = None
    max_pixels: int | None = None
    record: bool | RecordForm = False
    contact_sheet: bool = False
    out_layout: Side | None = None
    overwrite: bool = False
    quiet: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.record, bool) and self.record not in RECORD_FORMS:
            raise ValueError(
                f"record is {self.record!r}, but must be {', '.join(RECORD_FORMS)}, True or False"
            )
        for name, other in (("batch_size", "auto"), ("limit", None), ("max_pixels", None)):
            value = getattr(self, name)
            if value != other and not (type(value) is int and value >= 1):
                raise ValueError(f"{name} is {value!r}, but must be a whole number of at least 1, or {other}")
        if self.out_layout not in (None, *OUT_SIDES):
            raise ValueError(f"out_layout is {self.out_layout!r}, but must be {', '.join(OUT_SIDES)} or None")

    @property
    def record_form(self) -> RecordForm | None:
        """How steps are recorded; True is the published form."""
        return ("png" if self.record else None) if isinstance(self.record, bool) else self.record


@dataclass(frozen=True)
class FolderRun:
    """A run whose every setting has been checked. ``description``: what made its images, for logs and files."""

    settings: FolderSettings
    fusion: FusionConfig
    device: torch.device
    prior: LoadedPrior | None
    diffusion: GaussianDiffusion
    sampler: Sampler
    pairs: list[PairFiles]
    problems: list[Problem]
    description: dict[str, Any]

    @property
    def sampling_prior(self) -> LoadedPrior | None:
        """The prior if it fuses, and is not there for the noise of the sources alone."""
        return None if self.fusion.prior == "noise" else self.prior

    @property
    def variant(self) -> str:
        """The name of the rectification."""
        return describe(self.fusion.em)["variant"]

    @property
    def ranges(self) -> list[ValueRange | None]:
        """Of each source; those of a sequence have been found."""
        found = self.fusion.source_ranges(len(self.pairs[0].paths))
        return [(values[0], values[1]) if isinstance(values, list) else None for values in found]

    @property
    def layout(self) -> OutLayout | None:
        """Where results go beside those of every run, if that was asked for."""
        chosen = self.settings
        if chosen.out_layout is None:
            return None
        return OutLayout.of(self.pairs, chosen.input, chosen.out_layout, chosen.save_dir / "dataset")

    @property
    def steps(self) -> int:
        """That every sample of a pair takes."""
        if self.sampling_prior is None:
            return iteration_count(self.diffusion, self.fusion.em)
        return step_count(self.diffusion, self.fusion.warm_start)

    @property
    def told_steps(self) -> str:
        """The same in words, with who takes them."""
        if self.sampling_prior is None:
            return f"{self.steps} iteration{'s' * (self.steps > 1)}"
        return f"{self.settings.diffusion.sampler} with {self.steps} of {self.settings.diffusion.steps} steps"
