"""Fuse every pair of images in a folder: ``python sample.py``. See ``--help`` and README.md."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shlex
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from guided_diffusion.config import DiffusionConfig, FusionConfig, ModelConfig, from_mapping
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Step
from guided_diffusion.nn import channels_last
from guided_diffusion.script_util import empty_model
from guided_diffusion.unet import UNetModel
from guided_diffusion.ycbcr import full_range_luma
from util.allocator import keep_freed_memory
from util.checkpoint import PriorInfo, load_prior, locate, obtain
from util.cli import sample_parser
from util.config_io import read_yaml
from util.device import PRECISIONS, choose_device, device_label
from util.logger import PairRecord, RunRecord, get_logger
from util.pairs import Pair, PairFiles, Problem, find_pairs, fit, fitted_size, load_pair
from util.results import ResultWriter
from util.version import versions

ROOT = Path(__file__).resolve().parent
OFFICIAL_CONFIG = ROOT / "configs/model_config_imagenet.yaml"
COMPACT_CONFIG = ROOT / "configs/model_config_compact.yaml"

log = logging.getLogger("ddfm")


@dataclass
class Job:
    """A run whose every setting has been checked. ``description`` is what made its images, for logs and files."""

    device: torch.device
    model: UNetModel | None
    diffusion: GaussianDiffusion
    diffusion_config: DiffusionConfig
    fusion_config: FusionConfig
    pairs: list[PairFiles]
    problems: list[Problem]
    description: dict[str, Any]


def read_config(cls: type, path: Path) -> Any:
    """The dataclass ``cls`` from a YAML file. Raises ValueError."""
    return from_mapping(cls, read_yaml(path), str(path))


def choose_prior(path: Path | None) -> tuple[Path, ModelConfig]:
    """The model configuration asked for, or the official one if its checkpoint is there, or the compact one."""
    if path is None:
        official: ModelConfig = read_config(ModelConfig, OFFICIAL_CONFIG)
        path = OFFICIAL_CONFIG if locate(official.model_path, ROOT).exists() else COMPACT_CONFIG
    config: ModelConfig = read_config(ModelConfig, path)
    if config.class_cond:
        raise ValueError(f"{path}: class_cond must be false, fusion needs an unconditional prior")
    if not config.model_path:
        raise ValueError(f"{path}: the key model_path is missing, the checkpoint of this prior")
    return path, config


def load_model(
    path: Path, config: ModelConfig, device: torch.device, precision: str
) -> tuple[UNetModel, PriorInfo]:
    """The prior with the weights of its checkpoint, ready on ``device``; a remote one is fetched first.

    Raises CheckpointError, DownloadError.
    """
    model = empty_model(config)
    info = load_prior(model, obtain(config.model_path, ROOT), str(path))
    model.convert_body(PRECISIONS[precision])
    torch.backends.cudnn.allow_tf32 = False  # fp32 means float32, also in convolutions
    return channels_last(model.to(device)), info


def prepare(args: argparse.Namespace) -> Job:
    """Check everything that can be wrong before the first pair. Raises ValueError or OSError."""
    diffusion_config: DiffusionConfig = read_config(DiffusionConfig, args.diffusion_config)
    fusion_config: FusionConfig = read_config(FusionConfig, args.fusion_config)
    if args.seed is not None:
        fusion_config = dataclasses.replace(fusion_config, seed=args.seed)
    diffusion = GaussianDiffusion.from_config(diffusion_config)
    device = choose_device(args.device, args.gpu)
    pairs, problems = find_pairs(args.input)

    model, info, config, precision = None, None, None, "fp32"
    if fusion_config.prior:
        path, config = choose_prior(args.model_config)
        half = config.use_fp16 and device.type == "cuda"
        precision = args.precision if args.precision != "auto" else ("fp16" if half else "fp32")
        model, info = load_model(path, config, device, precision)
        diffusion.check_channels(model.params.out_channels, model.params.in_channels)
        describe_prior(info, path)
    else:
        log.info("no prior (prior: false): EM iterations alone")
    log.info(
        f"{device_label(device)}, {precision}, seed {fusion_config.seed}, {diffusion_config.sampler} with "
        f"{diffusion.num_timesteps} of {diffusion_config.steps} steps, EM {fusion_config.em.variant}, "
        f"fit {fusion_config.fit}"
    )
    description = {
        "prior": dataclasses.asdict(info) if info else None,
        # without the path: what counts is the file's hash, and images should not tell folder names
        "model_config": dataclasses.asdict(dataclasses.replace(config, model_path="")) if config else None,
        "diffusion_config": dataclasses.asdict(diffusion_config),
        "fusion_config": dataclasses.asdict(fusion_config),
        "device": device_label(device),
        "precision": precision,
        "versions": versions(),
    }
    return Job(
        device, model, diffusion, diffusion_config, fusion_config, pairs[: args.limit], problems, description
    )


def describe_prior(info: PriorInfo, config_path: Path) -> None:
    """Say which prior makes the images, and what that means."""
    log.info(f"prior {info.file}, {info.parameters:,} parameters, sha256 {info.sha256}")
    if info.official:
        log.info("this is the official checkpoint: results are those of the released DDFM")
    elif config_path.name == OFFICIAL_CONFIG.name:
        log.warning(
            "this file fits, but is not the published checkpoint: results are not the released DDFM's"
        )
    elif config_path == COMPACT_CONFIG:
        log.info(
            "this is the compact prior of this repository: results are similar to those of the released "
            "DDFM, not the same (README.md says how to get the official one)"
        )
    else:
        log.info("this is not the official checkpoint: results are not those of the released DDFM")


def to_tensor(pairs: list[Pair], side: str, job: Job) -> Tensor:
    """One side of the pairs as luma (B, 1, H, W) in [-1, 1], fitted, on the job's device."""
    planes = [fit(getattr(pair, side).luma, job.fusion_config.fit) for pair in pairs]
    return (2 * torch.from_numpy(np.stack(planes)).float() / 255 - 1)[:, None].to(job.device)


def batches(
    job: Job, batch_size: int, on_problem: Callable[[Problem], None], skip: Callable[[Pair], bool]
) -> Iterator[list[Pair]]:
    """The pairs in batches of one fitted size; unreadable pairs go to ``on_problem``."""
    waiting: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for files in job.pairs:
        try:
            pair = load_pair(files)
        except ValueError as error:
            on_problem(Problem(files.stem, str(error)))
            continue
        if skip(pair):
            continue
        group = waiting[fitted_size(pair.size, job.fusion_config.fit)]
        group.append(pair)
        if len(group) == batch_size:
            yield group.copy()
            group.clear()
    yield from (group for group in waiting.values() if group)


class Runner:
    """Fuses batch after batch, keeping the record and the progress bar."""

    def __init__(self, job: Job, args: argparse.Namespace, record: RunRecord) -> None:
        self.job, self.record, self.args = job, record, args
        self.writer = ResultWriter(
            args.save_dir, job.description, job.fusion_config.fit, job.fusion_config.color
        )
        total = (len(job.pairs) + len(job.problems)) * job.diffusion.num_timesteps
        self.bar = tqdm(total=total, unit="step", disable=True if args.quiet else None, smoothing=0.05)

    def fail(self, problem: Problem) -> None:
        log.error(f"{problem.stem}: {problem.reason}")
        self.record.add(PairRecord(problem.stem, "failed", problem.reason))
        self._forget_pair()

    def skip(self, pair: Pair) -> bool:
        """Whether the pair's results are there already; if so, note it."""
        if self.args.overwrite or not self.writer.is_done(pair):
            return False
        log.info(f"{pair.stem}: skipped, its result is there (--overwrite makes it anew)")
        self.record.add(PairRecord(pair.stem, "skipped", files=[str(self.writer.recon_path(pair))]))
        self._forget_pair()
        return True

    def _forget_pair(self) -> None:
        self.bar.total = max(0, (self.bar.total or 0) - self.job.diffusion.num_timesteps)
        self.bar.refresh()

    def run(self, pairs: list[Pair]) -> None:
        """Fuse a batch; if that fails, each of its pairs alone, so that one bad pair costs only itself."""
        self.bar.set_description(", ".join(pair.stem for pair in pairs)[:40])
        before, started = self.bar.n, time.monotonic()
        try:
            lumas = self._fuse(pairs)
        except Exception as error:
            self.bar.n = before
            if len(pairs) > 1:
                log.warning(f"a batch of {len(pairs)} failed ({error}), trying its pairs one by one")
                for pair in pairs:
                    self.run([pair])
                return
            if not isinstance(error, RuntimeError | OSError | MemoryError | ArithmeticError):
                log.error("this should not happen", exc_info=True)
            self.fail(Problem(pairs[0].stem, f"{type(error).__name__}: {error}"))
            return
        seconds = (time.monotonic() - started) / len(pairs)
        for pair, luma in zip(pairs, lumas, strict=True):
            self._write(pair, luma, seconds)

    def _fuse(self, pairs: list[Pair]) -> np.ndarray:
        """Fused luma (B, H, W) of a batch."""
        job = self.job
        if self.args.record:
            for pair in pairs:
                self.writer.start_progress(pair)

        def on_step(step: Step) -> None:
            self.bar.update(len(pairs))
            if self.args.record:
                for pair, luma in zip(pairs, full_range_luma(step.x_t)[:, 0].cpu().numpy(), strict=True):
                    self.writer.write_progress(pair, step.index, luma)

        ir, vi = to_tensor(pairs, "ir", job), to_tensor(pairs, "vi", job)
        sampler = job.diffusion_config.sampler
        fused = fuse(job.model, job.diffusion, sampler, job.fusion_config, ir, vi, on_step)
        return fused[:, 0].cpu().numpy()

    def _write(self, pair: Pair, luma: np.ndarray, seconds: float) -> None:
        try:
            files = [str(path) for path in self.writer.write(pair, luma)]
        except OSError as error:
            self.fail(Problem(pair.stem, f"its result cannot be written: {error}"))
            return
        log.info(f"{pair.stem}: {seconds:.1f} s, {files[-1]}")
        self.record.add(PairRecord(pair.stem, "done", seconds=round(seconds, 3), files=files))


def run(job: Job, args: argparse.Namespace) -> int:
    """Fuse everything and close with the summary; returns the exit status. Raises OSError before the start."""
    record = RunRecord(args.save_dir / "run.json", {"command": shlex.join(sys.argv), **job.description})
    record.write()
    runner = Runner(job, args, record)
    for problem in job.problems:
        runner.fail(problem)
    try:
        for batch in batches(job, args.batch_size, runner.fail, runner.skip):
            runner.run(batch)
    except KeyboardInterrupt:
        record.interrupted = True
    runner.bar.close()
    record.save()
    folders = [args.save_dir / name for name in ("recon", "color", "progress")]
    print(record.summary([folder for folder in folders if folder.is_dir()]))  # noqa: T201
    return record.exit_status


def main(argv: list[str] | None = None) -> int:
    args = sample_parser(ROOT).parse_args(argv)
    get_logger(args.quiet)
    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        job = prepare(args)
        if args.dry_run:
            for files in job.pairs:
                log.info(f"would fuse {files.ir} and {files.vi}")
            for problem in job.problems:
                log.error(f"{problem.stem}: {problem.reason}")
            return 1 if job.problems else 0
        return run(job, args)
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted before the first pair")
        return 130


if __name__ == "__main__":
    sys.exit(main())
