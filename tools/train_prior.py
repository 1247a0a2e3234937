"""Train an unconditional diffusion prior on photographs: any UNet that a model configuration describes.

    python -m tools.train_prior --data photos.tar more_photos/ --val held_out.tar --steps 5200 --out models/compact.pt

Everything random at a step follows from the seed and the step's number, so a run that was stopped and
started again with the same command sees the same images in the same order under the same schedule.

Several GPUs share each batch, and see together what one alone would see:

    torchrun --standalone --nproc_per_node 4 -m tools.train_prior --batch_size 256 ...
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from tools.training.loop import Pace, Trainer, train
from tools.training.optimizers import OPTIMIZERS
from tools.training.photos import center_crop, load_photos, to_batch
from tools.training.recipe import Recipe, Treatment
from tools.training.team import Team, join_team
from util.allocator import keep_freed_memory
from util.device import device_label
from util.prior import read_config

EPILOG = """\
On a CPU, glibc hands the large blocks of every layer back to the system and asks for them anew at each step, which
costs up to 1.4 times the time. The tool raises glibc's mmap and trim thresholds by itself (util/allocator.py), so
nothing needs to be set; where the C library is another one, preloading jemalloc (LD_PRELOAD) does the same.

Exit status: 0 the weights are written; 1 an error on the way; 2 nothing was started; 130 stopped by Ctrl-C or
SIGTERM, the state saved: the same command goes on.
"""
VAL_CROP = 128


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_files(parser)
    _add_recipe(parser)
    _add_pace(parser)
    return parser.parse_args(argv)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("files").add_argument
    add("--data", type=Path, nargs="+", required=True, help="folders or tar archives of photographs")
    add("--val", type=Path, nargs="+", required=True, help="held-out photographs, for validation only")
    add(
        "--model_config",
        default="configs/model_config_compact.yaml",
        help="architecture (default %(default)s)",
    )
    add("--diffusion_config", default="configs/diffusion_config.yaml", help="schedule (default %(default)s)")
    add("--norm_groups", type=int, metavar="N", help="in place of what the model configuration says")
    add("--out", type=Path, required=True, help="where the finished weights go (float16, moving average)")
    add("--run_dir", type=Path, default=Path("runs/prior"), help="state, log (default %(default)s)")
    add(
        "--init",
        type=Path,
        help="start from these weights instead of fresh ones; a network of fewer blocks in some levels is deepened",
    )
    add("--limit", type=int, help="use only this many photographs")
    add("--val_images", type=int, default=16, help="photographs to validate on (default %(default)s)")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("recipe").add_argument
    add("--steps", type=int, default=5200, help="optimiser steps (default %(default)s)")
    add("--batch_size", type=int, default=16, help="crops a step, of all processes (default %(default)s)")
    add("--crop", type=int, default=64, help="side of the crops in pixels (default %(default)s)")
    add(
        "--small_crop",
        type=int,
        default=0,
        metavar="SIDE",
        help="every third step takes crops of this side, as many as have the pixels of the others, at uniform "
        "timesteps; teaches, with --multiscale, the mean colour (default: none)",
    )
    add("--lr", type=float, default=8e-4, help="peak learning rate (default %(default)s)")
    add("--warmup", type=int, default=200, help="steps of linear warm-up (default %(default)s)")
    add(
        "--optimizer",
        choices=OPTIMIZERS,
        default="adamw",
        help="muon: momentum, orthogonalised, for the weights of hidden layers, and AdamW for the others "
        "(default %(default)s)",
    )
    add("--weight_decay", type=float, default=0.0, help="decoupled (default %(default)s)")
    add("--ema", type=float, default=0.999, help="decay of the moving average (default %(default)s)")
    add(
        "--timesteps",
        choices=["uniform", "edm"],
        default="uniform",
        help="uniform, or three of four from EDM's density of noise levels (default %(default)s)",
    )
    for name, symbol, value in (("mean", "mean", -1.2), ("std", "standard deviation", 1.2)):
        add(
            f"--level_{name}",
            type=float,
            default=value,
            help=f"{symbol} of the logarithms of edm's noise levels, images in [-1, 1] (default %(default)s)",
        )
    add(
        "--min_snr_gamma",
        type=float,
        metavar="GAMMA",
        help="weight timesteps by min-SNR-gamma (Hang et al. 2023; they take 5; default: all alike)",
    )
    add(
        "--multiscale",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="add the error of coarser and coarser block means, min-SNR-weighted each by itself: colours and light "
        "at the noisiest timesteps (after Hoogeboom et al. 2023; default: not)",
    )
    add("--grey", type=float, default=0.0, metavar="P", help="share of crops made grey (default %(default)s)")
    add(
        "--low_light",
        type=float,
        default=0.0,
        metavar="P",
        help="share of crops darkened by a gain of 0.15 to 0.8 and a gamma of 1 to 2 (default %(default)s)",
    )
    add(
        "--shrunk",
        type=float,
        default=0.5,
        metavar="P",
        help="share of crops scaled down by 1 to 2, which leaves less of JPEG's traces (default %(default)s)",
    )
    add(
        "--tones",
        type=float,
        default=0.0,
        metavar="P",
        help="share of crops with a tone curve as of a thermal camera: inverted, compressed or clipped "
        "(default %(default)s)",
    )
    add("--seed", type=int, default=0, help="decides weights, crops, timesteps, noise (default %(default)s)")


def _add_pace(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("machine").add_argument
    add(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, CUDA where there is one)",
    )
    add(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="bf16: autocast (default: auto, bf16 on CUDA and fp32 on a CPU)",
    )
    add(
        "--compile",
        action="store_true",
        help="torch.compile the network, which takes minutes and a C++ compiler; for long runs on CUDA",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="threads that prepare batches ahead; the data stay the same (default: 4 on CUDA, 0 on a CPU)",
    )
    add("--val_every", type=int, default=400, help="steps between validations (default %(default)s)")
    add("--save_every", type=int, default=200, help="steps between saved states (default %(default)s)")


def read_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe of the command line. Raises ValueError."""
    model = read_config(ModelConfig, Path(args.model_config))
    if args.norm_groups is not None:
        model = dataclasses.replace(model, norm_groups=args.norm_groups)
    published = read_config(DiffusionConfig, Path(args.diffusion_config))
    diffusion = dataclasses.replace(published, timestep_respacing="")  # trained on every timestep
    names = [f.name for f in dataclasses.fields(Recipe) if f.name not in ("model", "diffusion")]
    return Recipe(**{name: getattr(args, name) for name in names}, model=model, diffusion=diffusion)


@dataclasses.dataclass(frozen=True)
class Job:
    """A run whose every setting has been checked."""

    trainer: Trainer
    photos: list[np.ndarray]
    val: Tensor
    pace: Pace


def prepare(args: argparse.Namespace, team: Team, device: torch.device) -> Job:
    """Everything that can be wrong before the first step. Raises ValueError."""
    recipe = read_recipe(args)
    team.share(recipe.batch_size)
    cuda = device.type == "cuda"
    pace = Pace(
        val_every=args.val_every,
        save_every=args.save_every,
        bf16=args.precision == "bf16" or (args.precision == "auto" and cuda),
        compiled=args.compile,
        workers=(4 if cuda else 0) if args.workers is None else args.workers,
    )
    args.run_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, args.run_dir, device, args.init)
    params = trainer.model.params
    GaussianDiffusion.from_config(recipe.diffusion).check_channels(params.out_channels, params.in_channels)
    resumed = trainer.resume()
    if not team.agree(trainer.step):
        raise ValueError("the processes resume at different steps: --run_dir must be one folder for all")
    photos = load_photos(args.data, recipe.crop, args.limit, quiet=not team.first)
    held_out = load_photos(args.val, VAL_CROP, args.val_images, quiet=not team.first)
    untreated = Treatment(grey=False, light=None, channels=params.in_channels)
    val = to_batch([untreated.apply(center_crop(photo, VAL_CROP)) for photo in held_out]).to(device)
    if team.first:
        parameters = sum(p.numel() for p in trainer.model.parameters())
        print(
            f"{parameters:,} parameters, {len(photos)} photographs, {team.size} x {device_label(device)} "
            f"{'bf16' if pace.bf16 else 'fp32'}, {os.cpu_count()} cores; "
            f"{'resumed at' if resumed else 'starting at'} step {trainer.step}"
        )
    return Job(trainer, photos, val, pace)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    keep_freed_memory()
    with contextlib.ExitStack() as stack:
        try:
            team, device = stack.enter_context(join_team(args.device))
            job = prepare(args, team, device)
        except ValueError as error:
            print(f"train_prior: {error}", file=sys.stderr)
            return 2
        done = train(job.trainer, job.photos, job.val, job.pace, team)
        if team.first and done:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            job.trainer.export(args.out)
            print(f"wrote {args.out}")
        elif team.first:
            print(f"stopped at step {job.trainer.step}; run the same command again to go on")
        return 0 if done else 130


if __name__ == "__main__":
    sys.exit(main())
