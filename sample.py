"""Fuse every pair of images in a folder: ``python sample.py``. See ``--help`` and README.md."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import math
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, FusionConfig, RuntimeConfig
from guided_diffusion.execution import CompiledModel, Execution, can_compile, choose_precision
from guided_diffusion.fusion import fuse, step_count
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.samplers import Step
from guided_diffusion.tiling import TiledModel
from guided_diffusion.ycbcr import full_range_luma, luma_tensor
from util.allocator import keep_freed_memory
from util.checkpoint import obtain
from util.cli.sample_arguments import sample_parser
from util.device import check_precision, device_label
from util.files import project_root
from util.images.image_io import SourceImage, ValueRange
from util.images.layouts import source_folders
from util.images.pairs import Pair, PairFiles, Problem, find_pairs, fit, fitted_size, load_pair
from util.logger import get_logger
from util.prior import choose_prior, describe_prior, load_model, read_config
from util.process import print_any_name, stop_on_signals
from util.run.ranks import FailedElsewhere, World, join_world
from util.run.record import RunRecord
from util.run.results import FOLDERS, ResultWriter, start_record
from util.run.runner import FuseBatch, OnStep, Runner, RunOptions
from util.run.shared_run import SharedRun
from util.run.shares import share_pairs
from util.version import versions

ROOT = project_root()

log = logging.getLogger("ddfm")


@dataclass
class Job:
    """A run whose every setting has been checked. ``description`` is what made its images, for logs and files."""

    device: torch.device
    model: Model | None
    diffusion: GaussianDiffusion
    diffusion_config: DiffusionConfig
    fusion_config: FusionConfig
    pairs: list[PairFiles]
    problems: list[Problem]
    description: dict[str, Any]


def choose_execution(
    args: argparse.Namespace, runtime: RuntimeConfig, use_fp16: bool, device: torch.device
) -> Execution:
    """How the prior is run: as the flags say or, where they do not, the configuration. Raises ValueError."""
    precision = choose_precision(args.precision or runtime.precision, use_fp16, device)
    check_precision(precision, device)
    asked = runtime.compile if args.compile is None else args.compile
    return Execution(device, precision, asked and can_compile(device))


def prepare(args: argparse.Namespace, world: World) -> Job:
    """Check everything that can be wrong before the first pair. Raises ValueError or OSError."""
    keeps_memory = keep_freed_memory()
    diffusion_config: DiffusionConfig = read_config(DiffusionConfig, args.diffusion_config)
    fusion_config: FusionConfig = read_config(FusionConfig, args.fusion_config)
    if args.seed is not None:
        fusion_config = dataclasses.replace(fusion_config, seed=args.seed)
    diffusion = GaussianDiffusion.from_config(diffusion_config)
    device = world.device(args.device, args.gpu)
    pairs, problems = find_pairs(*source_folders(args.input, args.ir, args.vi))

    model, info, config, execution = None, None, None, Execution(device)
    if fusion_config.prior:
        path, config = choose_prior(args.model_config, ROOT)
        execution = choose_execution(args, fusion_config.runtime, config.use_fp16, device)
        with world.stage():
            if world.local_rank == 0:  # a remote checkpoint is fetched once
                obtain(config.model_path, ROOT)
        model, info = load_model(path, config, ROOT, execution)
        diffusion.check_channels(model.params.out_channels, model.params.in_channels)
        describe_prior(info, path)
        log.info(f"{execution.describe(model)}{', kept allocator' * keeps_memory}")
        model = CompiledModel(model) if execution.compile else model
    else:
        log.info("no prior (prior: false): EM iterations alone")
    # what was chosen, not what was asked for: auto and its outcome make the same images
    runtime = dataclasses.replace(
        fusion_config.runtime, precision=execution.precision, compile=execution.compile
    )
    fusion_config = dataclasses.replace(fusion_config, runtime=runtime)
    log.info(
        f"{device_label(device)}, {execution.precision}, seed {fusion_config.seed}, {diffusion_config.sampler} with "
        f"{step_count(diffusion, fusion_config)} of {diffusion_config.steps} steps, EM {fusion_config.em.variant}, "
        f"fit {fusion_config.fit}"
    )
    description = {
        "prior": dataclasses.asdict(info) if info else None,
        # without the path: what counts is the file's hash, and images should not tell folder names
        "model_config": dataclasses.asdict(dataclasses.replace(config, model_path="")) if config else None,
        "diffusion_config": dataclasses.asdict(diffusion_config),
        "fusion_config": dataclasses.asdict(fusion_config),
        "device": device_label(device),
        "precision": execution.precision,
        "versions": versions(),
    }
    return Job(
        device, model, diffusion, diffusion_config, fusion_config, pairs[: args.limit], problems, description
    )


def batch_fuser(job: Job) -> FuseBatch:
    """The function that fuses pairs of one fitted size, in the form that a Runner takes."""
    mode = job.fusion_config.fit

    def to_tensor(images: Iterable[SourceImage]) -> Tensor:
        return luma_tensor(np.stack([fit(image.luma, mode) for image in images]), job.device)

    def fuse_batch(pairs: list[Pair], on_step: OnStep) -> np.ndarray:
        def report(step: Step) -> None:
            on_step(step.index, lambda: full_range_luma(step.x_t)[:, 0].cpu().numpy())

        ir, vi = to_tensor(pair.ir for pair in pairs), to_tensor(pair.vi for pair in pairs)
        cores = [fitted_size(pair.size, "crop") for pair in pairs]
        sampler = job.diffusion_config.sampler
        runtime, model = job.fusion_config.runtime, job.model
        tile = runtime.tile_of((ir.shape[2], ir.shape[3]))
        if model is not None and tile is not None:
            model = TiledModel(model, tile, runtime.overlap)
        fused = fuse(model, job.diffusion, sampler, job.fusion_config, ir, vi, report, cores)
        return fused[:, 0].cpu().numpy()

    return fuse_batch


def run(job: Job, args: argparse.Namespace, world: World) -> int:
    """Fuse everything and close with the summary; returns the exit status. Raises ValueError before the start."""
    with world.stage():
        description = {"command": shlex.join(sys.argv), **job.description}
        record = start_record(args.save_dir, description) if world.first else RunRecord(None, {})
    config = job.fusion_config
    writer = ResultWriter(args.save_dir, job.description, config.fit, config.color, config.color_method)
    divide = functools.partial(share_pairs, writer=writer, overwrite=args.overwrite)
    shared = SharedRun(world, record, job.pairs, job.problems, divide)
    options = RunOptions(
        steps=step_count(job.diffusion, config),
        fit=config.fit,
        ir_range=as_range(config.ir_range),
        vi_range=as_range(config.vi_range),
        batch_size=args.batch_size,
        memory_share=0.5 / world.local_size if job.device.type == "cpu" else math.inf,
        elsewhere=shared.elsewhere,
        overwrite=args.overwrite,
        record_steps=args.record,
        quiet=args.quiet or not world.first,
    )
    Runner(batch_fuser(job), writer, shared.record, options, shared.inbox).run(shared.pairs, shared.problems)
    if world.first:
        shared.complete()
        folders = [args.save_dir / name for name in FOLDERS]
        print(record.summary([folder for folder in folders if folder.is_dir()]))  # noqa: T201
    return shared.exit_status()


def as_range(values: list[float] | None) -> ValueRange | None:
    """[low, high] of the configuration, which has been checked, as the readers take it."""
    return None if values is None else (values[0], values[1])


def dry_run(job: Job) -> int:
    """Say what would be done, having opened every image; returns the exit status."""
    config, failed = job.fusion_config, list(job.problems)
    for files in job.pairs:
        try:
            load_pair(files, as_range(config.ir_range), as_range(config.vi_range))
            log.info(f"would fuse {files.ir} and {files.vi}")
        except ValueError as error:
            failed.append(Problem(files.stem, str(error)))
    for problem in failed:
        log.error(f"{problem.stem}: {problem.reason}")
    return 1 if failed else 0


def start(args: argparse.Namespace, world: World) -> int:
    """Everything after the command line; returns the exit status."""
    try:
        with world.stage():
            job = prepare(args, world)
        if args.dry_run:
            return world.gather(dry_run(job) if world.first else 0)[0]
        return run(job, args, world)
    except FailedElsewhere as error:
        if world.first:
            log.error(error)
        world.gather(None)  # torchrun ends the others as soon as one has failed
        return 2
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted before the first pair")
        return 130


def main(argv: list[str] | None = None) -> int:
    args = sample_parser(ROOT).parse_args(argv)
    try:
        world = join_world()
    except ValueError as error:
        get_logger().error(error)
        return 2
    get_logger(args.quiet, world.rank)
    stop_on_signals()
    print_any_name()
    try:
        return start(args, world)
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
