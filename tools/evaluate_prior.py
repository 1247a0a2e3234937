"""Judge a prior by itself: denoising in one step, loss by timestep, unconditional samples, cost.

    python -m tools.evaluate_prior --val photos-val.tar --samples docs/prior --plots docs/prior --json prior.json

Denoising: white Gaussian noise of sigma (of 255), neither clipped nor rounded, is added to the centre crops of
held-out photographs; one call of the network at the timestep whose noise is nearest gives an estimate of the clean
image. PSNR is counted in colour, with peak 255, and averaged over images, on estimates that are clipped to 0 ... 255
but not rounded. Denoisers from libraries get the same noisy images. Needs what requirements-dev.txt lists.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks import table as speed
from benchmarks.cost import gflop, parameters
from benchmarks.step import Case
from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.execution import Execution
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.samplers import SamplerName
from guided_diffusion.script_util import empty_model
from guided_diffusion.unet import UNetModel
from tools.prior_card.curves import plot_losses, plot_training, read_log
from tools.prior_card.denoising import DENOISERS, denoise_all, losses_by_timestep, spread_of_colours
from tools.prior_card.samples import write_grids
from tools.prior_card.tables import cost_table, denoising_table, loss_table
from tools.training.photos import center_crop, load_photos
from tools.training.validation import SIGMAS
from util.allocator import keep_freed_memory
from util.checkpoint import OFFICIAL, PriorInfo, obtain
from util.device import choose_device, device_label
from util.files import project_root, write_atomically
from util.markdown import fill_card
from util.prior import load_ready, read_config

ROOT = project_root()
OFFICIAL_CONFIG = str(ROOT / "configs/model_config_imagenet.yaml")


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT -> (height, width)."""
    width, found, height = text.lower().partition("x")
    if not (found and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 320x480 (width, height)")
    return int(height), int(width)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit status: 0 all done; 1 something could not be written; 2 nothing started; 130 interrupted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("the prior").add_argument
    compact, process = ROOT / "configs/model_config_compact.yaml", ROOT / "configs/diffusion_config.yaml"
    add("--model_config", default=str(compact), help="(default configs/model_config_compact.yaml)")
    add("--model_path", type=Path, help="weights (default: those that the model configuration names)")
    add("--diffusion_config", default=str(process), help="(default configs/diffusion_config.yaml)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    add = parser.add_argument_group("denoising and loss").add_argument
    add("--val", type=Path, nargs="+", help="held-out photographs: folders or tar archives")
    add("--images", type=int, help="only so many of them (default: all)")
    add("--crop", type=int, default=256, help="side of their centre crops (default %(default)s)")
    add("--sigmas", type=float, nargs="+", default=list(SIGMAS), help="of 255 (default 10 25 50 100)")
    add(
        "--denoisers",
        nargs="*",
        choices=sorted(DENOISERS),
        default=["nl_means"],
        help="companions: nl_means and tv are scikit-image's; cbm3d needs 'pip install bm3d', whose licence is "
        "non-commercial, and takes seconds an image (default nl_means)",
    )
    add(
        "--loss_timesteps",
        type=int,
        default=20,
        help="points of the loss curve, 0: none (default %(default)s)",
    )
    add("--loss_images", type=int, default=32, help="photographs for it (default %(default)s)")
    add("--seed", type=int, default=0, help="of noise and samples (default %(default)s)")
    add = parser.add_argument_group("samples").add_argument
    add("--samples", type=Path, metavar="DIR", help="write grids of unconditional samples there")
    sizes = [(64, 64), (128, 128), (480, 320), (128, 192)]
    add("--sizes", type=size, nargs="+", default=sizes, help="(default 64x64 128x128 320x480 192x128)")
    add("--sample_count", type=int, default=4, help="images of each size (default %(default)s)")
    add("--sample_steps", type=int, default=100, help="steps of the sampler (default %(default)s)")
    add("--sampler", choices=get_args(SamplerName), help="(default: that of the diffusion configuration)")
    add(
        "--dynamic_threshold",
        action=argparse.BooleanOptionalAction,
        help="scale what leaves the range back into it instead of clamping (default: as there)",
    )
    add = parser.add_argument_group("reports").add_argument
    add("--log", type=Path, nargs="+", help="log.jsonl of the training's stages in order; needs --plots")
    add("--plots", type=Path, metavar="DIR", help="write curves there: loss_by_timestep.png, training.png")
    add("--time", action="store_true", help="also time steps beside the official architecture (minutes)")
    add("--json", type=Path, metavar="FILE", help="write all numbers")
    add("--card", type=Path, metavar="FILE", help="put the tables between the marks of this model card")
    args = parser.parse_args(argv)
    if args.log and not args.plots:
        parser.error("--log needs --plots DIR")
    for name in ("images", "crop", "loss_images", "sample_count", "sample_steps"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if args.loss_timesteps < 0 or min(args.sigmas) <= 0:
        parser.error("--loss_timesteps must be 0 or more and --sigmas more than 0")
    return args


@dataclasses.dataclass(frozen=True)
class Job:
    """An evaluation whose every setting has been checked. ``process``: of samples; ``crops``: (crop, crop, 3)."""

    config: ModelConfig
    checkpoint: Path
    model: UNetModel
    info: PriorInfo
    process: DiffusionConfig
    diffusion: GaussianDiffusion
    crops: list[np.ndarray]
    device: torch.device


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
    if "cbm3d" in args.denoisers and importlib.util.find_spec("bm3d") is None:
        raise ValueError("cbm3d needs the package bm3d: pip install bm3d (non-commercial licence)")
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
    photos = load_photos(args.val, args.crop, args.images) if args.val else []
    crops = [center_crop(photo, args.crop) for photo in photos]
    return Job(config, checkpoint, model, info, process, diffusion, crops, device)


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
            job.model, job.diffusion, job.crops, args.sigmas, args.denoisers, args.seed, job.device
        )
        report["denoising"] = result
        yield "denoising", denoising_table(result)
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
            args.samples, job.device,
        )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
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
