"""Judge a prior by itself: denoising in one step, loss by timestep, unconditional samples, cost.

    python -m tools.evaluate_prior --val photos-val.tar --samples docs/prior --plots docs/prior --json prior.json

Denoising: white Gaussian noise of sigma (of 255), neither clipped nor rounded, is added to the centre crops of
held-out photographs; one call of the network at the timestep whose noise is nearest gives an estimate of the clean
image. PSNR is counted in colour, or in luma for a prior of one channel, with peak 255, and averaged over images, on
estimates that are clipped to 0 ... 255 but not rounded. Denoisers from libraries get the same noisy images. Needs
what requirements-dev.txt lists.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import table as speed
from benchmarks.cost import gflop, parameters
from benchmarks.step import Case
from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.execution import Execution
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.script_util import empty_model
from guided_diffusion.unet import UNetModel
from tools.prior_card.arguments import parse_args
from tools.prior_card.curves import plot_losses, plot_training, read_log
from tools.prior_card.denoising import denoise_all, losses_by_timestep, spread_of_colours
from tools.prior_card.grey import GreyDenoiser, as_grey, denoise_thermal, thermal_frames
from tools.prior_card.published import PublishedDenoiser, load_published
from tools.prior_card.samples import write_grids
from tools.prior_card.tables import cost_table, denoising_table, loss_table, thermal_table
from tools.training.photos import center_crop, load_photos
from util.allocator import keep_freed_memory
from util.checkpoint import OFFICIAL, PriorInfo, obtain
from util.device import choose_device, device_label
from util.files import project_root, write_atomically
from util.images.png import write_png
from util.markdown import fill_card
from util.prior import load_ready, read_config

ROOT = project_root()
OFFICIAL_CONFIG = str(ROOT / "configs/model_config_imagenet.yaml")


@dataclasses.dataclass(frozen=True)
class Job:
    """An evaluation whose every setting has been checked. ``process``: of samples; ``crops``: (crop, crop, C)."""

    config: ModelConfig
    checkpoint: Path
    model: UNetModel
    info: PriorInfo
    process: DiffusionConfig
    diffusion: GaussianDiffusion
    crops: list[np.ndarray]
    device: torch.device
    before: GreyDenoiser | None = None
    thermal: list[tuple[str, np.ndarray, np.ndarray]] | None = None
    published: dict[str, PublishedDenoiser] = dataclasses.field(default_factory=dict)

    @property
    def denoiser(self) -> GreyDenoiser:
        return GreyDenoiser(NetworkPrior(self.model, self.diffusion, self.config.in_channels), self.device)


def prepare(args: argparse.Namespace) -> Job:
    """Everything that can be wrong before the work. Raises ValueError."""
    config = read_config(ModelConfig, Path(args.model_config))
    process = read_config(DiffusionConfig, Path(args.diffusion_config))
    diffusion = GaussianDiffusion.from_config(dataclasses.replace(process, timestep_respacing=""))
    asked = {name: getattr(args, name) for name in ("sampler", "dynamic_threshold")}
    process = dataclasses.replace(
        process, **{name: value for name, value in asked.items() if value is not None}
    )
    if args.sample_steps > diffusion.num_timesteps:
        raise ValueError(f"--sample_steps {args.sample_steps} is more than {diffusion.num_timesteps}")
    _check_channels(args, config.in_channels)
    if {"bm3d", "cbm3d"} & set(args.denoisers) and importlib.util.find_spec("bm3d") is None:
        raise ValueError("bm3d and cbm3d need the package bm3d: pip install bm3d (non-commercial licence)")
    for log in args.log or ():
        read_log(log)
    device = choose_device(args.device, None)
    model = empty_model(config)
    multiple = model.size_multiple
    wanted = [(args.crop, args.crop)] * bool(args.val) + args.sizes * bool(args.samples)
    for height, width in wanted:
        if height % multiple or width % multiple:
            raise ValueError(f"{width}x{height}: this prior takes multiples of {multiple}")
    checkpoint = args.model_path or obtain(config.model_path, ROOT)
    info = load_ready(model, checkpoint, args.model_config, Execution(device))
    diffusion.check_channels(model.params.out_channels, model.params.in_channels)
    photos = load_photos(args.val, args.crop)[:: args.every][: args.images] if args.val else []
    crops = [center_crop(photo, args.crop) for photo in photos]
    if config.in_channels == 1:
        crops = [as_grey(crop) for crop in crops]
    before = load_before(args, diffusion, device) if args.before else None
    thermal = thermal_frames(args.thermal, multiple) if args.thermal else None
    published = {path.stem: load_published(path) for path in args.published}
    return Job(config, checkpoint, model, info, process, diffusion, crops, device, before, thermal, published)


def _check_channels(args: argparse.Namespace, channels: int) -> None:
    """Raise ValueError for what only priors of one channel, or only those of three, can be asked."""
    if channels == 3:
        asked = ["--before"] * bool(args.before) + ["--thermal"] * bool(args.thermal)
        asked += ["--denoisers bm3d"] * ("bm3d" in args.denoisers) + ["--published"] * bool(args.published)
    else:
        asked = ["--denoisers cbm3d"] * ("cbm3d" in args.denoisers)
    if asked:
        raise ValueError(f"{asked[0]} is not for priors of {channels} channel{'s' * (channels > 1)}")


def load_before(args: argparse.Namespace, diffusion: GaussianDiffusion, device: torch.device) -> GreyDenoiser:
    """The prior of ``--before``. Raises ValueError."""
    config = read_config(ModelConfig, Path(args.before))
    model = empty_model(config)
    if args.crop % model.size_multiple:
        raise ValueError(f"{args.before}: this prior takes multiples of {model.size_multiple}")
    load_ready(model, obtain(config.model_path, ROOT), args.before, Execution(device))
    return GreyDenoiser(NetworkPrior(model, diffusion, config.in_channels), device, args.seed)


def cost_of(config: ModelConfig, file_bytes: int) -> dict[str, Any]:
    """Parameters, bytes of the file and GFLOP a step at 256x256 of this prior and of the official one."""
    official = read_config(ModelConfig, Path(OFFICIAL_CONFIG))
    pairs = (("prior", config, file_bytes), ("official", official, OFFICIAL.size))
    return {
        name: {"parameters": parameters(model), "bytes": count, "gflop": gflop(model)}
        for name, model, count in pairs
    }


def evaluate(args: argparse.Namespace, job: Job, report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and Markdown of every part as it is done; the numbers go into ``report``. Raises OSError."""
    before = {"before": job.before} if job.before else {}
    report["cost"] = cost_of(job.config, job.checkpoint.stat().st_size)
    yield "cost", cost_table(report["cost"])
    if args.time:
        names = {
            str(Path(args.model_config).resolve()): "this prior",
            OFFICIAL_CONFIG: "official architecture",
        }
        cases = [Case(config, "ours", 256, 256, str(job.device), steps=5) for config in names]
        outcomes = speed.take_turns(cases, rounds=3)
        report["time"] = {
            names[case.config]: [dataclasses.asdict(run) for run in runs] for case, runs in outcomes.items()
        }
        yield "time", speed.table(outcomes, names)
    if job.crops:
        result = denoise_all(
            job.model,
            job.diffusion,
            job.crops,
            args.sigmas,
            args.denoisers,
            args.seed,
            job.device,
            {**job.published, **before},
        )
        report["denoising"] = result
        yield "denoising", denoising_table(result)
    if job.thermal:
        report["thermal"], pictures = denoise_thermal({**before, "prior": job.denoiser}, job.thermal)
        if args.plots:
            for name, picture in pictures.items():
                write_png(args.plots / f"thermal_{name}.png", picture, {"ddfm": "noisy, denoised, clean"})
        yield "thermal", thermal_table(report["thermal"])
    if job.crops and args.loss_timesteps:
        some = job.crops[: args.loss_images]
        losses = losses_by_timestep(
            job.model, job.diffusion, some, args.loss_timesteps, args.seed, job.device
        )
        report["loss"] = {"images": len(some), "spread": spread_of_colours(some), "timesteps": losses}
        if args.plots:
            plot_losses(losses, args.plots / "loss_by_timestep.png")
        yield "loss", loss_table(report["loss"])
    if args.log:
        plot_training(args.log, args.plots / "training.png")
    if args.samples:
        write_grids(
            job.model, job.process, args.sample_steps, args.sizes, args.sample_count, args.seed,
            args.samples, job.device, job.config.in_channels,
        )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    args = parse_args(__doc__, argv)
    keep_freed_memory()
    try:
        return run(args)
    except KeyboardInterrupt:
        print("evaluate_prior: interrupted", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Evaluate, print and write; returns the exit status."""
    try:
        job = prepare(args)
    except ValueError as error:
        print(f"evaluate_prior: {error}", file=sys.stderr)
        return 2
    print(
        f"{job.info.file}, sha256 {job.info.sha256}; {len(job.crops)} photographs; {device_label(job.device)}"
    )
    report: dict[str, Any] = {"file": job.info.file, "sha256": job.info.sha256}
    sections: dict[str, str] = {}
    try:
        for name, text in evaluate(args, job, report):
            sections[name] = text
            print(f"\n{name}\n\n{text}", flush=True)
        if args.json:
            write_atomically(args.json, (json.dumps(report, indent=1) + "\n").encode())
        if args.card:
            fill_card(args.card, sections)
    except (OSError, ValueError) as error:
        print(f"evaluate_prior: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
