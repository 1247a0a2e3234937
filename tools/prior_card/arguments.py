"""The command line of ``tools.evaluate_prior``."""

from __future__ import annotations

import argparse
from pathlib import Path

from guided_diffusion.samplers import SAMPLERS
from tools.prior_card.denoising import DENOISERS
from tools.training.validation import SIGMAS

ROOT = Path(__file__).resolve().parents[2]


def size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT -> (height, width)."""
    width, found, height = text.lower().partition("x")
    if not (found and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 320x480 (width, height)")
    return int(height), int(width)


def parse_args(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
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
    add("--every", type=int, default=1, metavar="N", help="every N-th of them by name (default: all)")
    add("--images", type=int, help="only so many of them (default: all)")
    add("--crop", type=int, default=256, help="side of their centre crops (default %(default)s)")
    add("--sigmas", type=float, nargs="+", default=list(SIGMAS), help="of 255 (default 10 25 50 100)")
    add(
        "--denoisers",
        nargs="*",
        choices=sorted(DENOISERS),
        default=["nl_means"],
        help="companions: nl_means and tv are scikit-image's; cbm3d needs 'pip install bm3d', whose licence is "
        "non-commercial, and takes seconds an image; bm3d is the same for grey (default nl_means)",
    )
    add(
        "--published",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="FDnCNN_gray.mat of github.com/cszn/DnCNN, FFDNet_gray.mat of github.com/cszn/FFDNet: companions for "
        "priors of one channel, under the names of their files; needs 'pip install h5py'",
    )
    add(
        "--before",
        metavar="CONFIG",
        help="the model configuration of another prior, of one or three channels, to stand beside one of one channel",
    )
    add(
        "--thermal",
        type=Path,
        metavar="DIR",
        help="also denoise thermal frames of the noise that is in them: DIR/*/ir_noisy beside DIR/*/ir; for priors "
        "of one channel. With --plots, a picture of each sequence",
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
    add("--sampler", choices=list(SAMPLERS), help="(default: that of the diffusion configuration)")
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
    for name in ("every", "images", "crop", "loss_images", "sample_count", "sample_steps"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if args.loss_timesteps < 0 or min(args.sigmas) <= 0:
        parser.error("--loss_timesteps must be 0 or more and --sigmas more than 0")
    return args
