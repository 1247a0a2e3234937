"""Whether the spread of samples says how far their mean is from the fusion of clean sources, as Markdown.

    python -m tools.calibrate_samples --input RoadScene --every 13
    python -m tools.calibrate_samples --input RoadScene --every 26 --samples 4 --chains

White noise of known strength is added to both sources of each pair, the fusion is sampled as ``--samples`` does, and
the mean is compared with the fusion of the clean sources, pixel by pixel. The sources themselves come first. With
``--chains`` two rows more sample by ddpm in a prior that fuses: with the sources drawn, and with them denoised.
``--picture`` shows, for ``local``, a row of images a pair: both noisy sources, the mean, its spread and its error.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import t as student
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.denoising.source_noise import GREY
from guided_diffusion.denoising.sources import clean_sources
from guided_diffusion.fusion import fuse
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.local.weights import Task, task_of_names
from guided_diffusion.prior import Prior
from guided_diffusion.rectification import Rectification
from guided_diffusion.samplers import ddpm_loop
from guided_diffusion.samples import Spread, add_samples, draw_sources, sample_seeds
from guided_diffusion.ycbcr import luma_tensor
from tools import resumable
from tools.compare_rectifications import noisy
from util.cli.arguments import positive
from util.images.image_io import read_image
from util.images.levels import levels_of, round_to_uint8
from util.images.pairs import MULTIPLE, find_pairs
from util.images.png import write_png
from util.images.sheet import row, stack
from util.images.source_folders import source_folders
from util.images.uncertainty import uncertainty_picture
from util.markdown import markdown_rows
from util.prior import open_prior


@dataclass
class Calibration:
    """Errors and spreads of one kind of sample, over all pixels of all pairs, in grey levels."""

    errors: list[float] = field(default_factory=list)  # mean squares, a pair each
    spreads: list[float] = field(default_factory=list)
    within: list[list[float]] = field(default_factory=list)

    def add(self, spread: Spread, clean: Tensor) -> None:
        """Take in the samples of one pair. What the mean itself is uncertain by counts: 1 + 1/K of the variance."""
        error = (spread.mean - clean).double() * GREY
        own = spread.deviation.double() * GREY * (1 + 1 / spread.count) ** 0.5
        self.errors.append(float(error.square().mean()))
        self.spreads.append(float(own.square().mean()))
        self.within.append([float((error.abs() <= times * own).double().mean()) for times in (1, 2)])

    def row(self, label: str) -> list[str]:
        """Of the table: root mean squares, their ratio and the shares, over the pairs."""
        error, spread = np.mean(self.errors) ** 0.5, np.mean(self.spreads) ** 0.5
        shares = np.mean(self.within, axis=0)
        return [
            label,
            f"{error:.1f}",
            f"{spread:.1f}",
            f"{error / spread:.2f}",
            *(f"{s:.0%}" for s in shares),
        ]


@dataclass(frozen=True)
class Scene:
    """A pair with noise. ``clean``, ``noisy``: luma of both sources, (1, 1, H, W) each in [-1, 1]."""

    clean: list[Tensor]
    noisy: list[Tensor]


def scenes(args: argparse.Namespace) -> tuple[list[Scene], Task]:
    """The middle of every Nth pair, with noise, and what kind of pairs they are. Raises ValueError."""
    folders = source_folders(args.input)
    told = task_of_names([part for folder in folders for part in folder.parts[-2:]])
    found = []
    for number, files in enumerate(find_pairs(*folders)[0][:: args.every]):
        generator = np.random.default_rng(number)
        images = [middle(read_image(path).luma, args.side) for path in files.paths]
        seen = [noisy(image, args.noise, generator) for image in images]
        found.append(Scene(*([luma_tensor(each[None]) for each in kind] for kind in (images, seen))))
    return found, told[0] if told else "ivf"


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of ``image``, at most ``side`` pixels a side and fitting the prior."""
    height, width = (min(side, length) // MULTIPLE * MULTIPLE for length in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def of_rows(rows: Tensor) -> Spread:
    spread = Spread()
    for each in rows.split(1):
        spread.add(each)
    return spread


def calibrate(args: argparse.Namespace) -> str:
    """The table. Raises ValueError, OSError."""
    pairs, task = scenes(args)
    prior = open_prior(
        args.model_config, diffusion=DiffusionConfig(timestep_respacing=args.steps), device="cpu"
    )
    found: dict[str, Calibration] = {}
    local, rows_shown = Local(task=task), list[np.ndarray]()
    fused_by: dict[str, Rectification] = {"local_fast": LocalFast(task=task), "local": local}
    for scene in pairs:
        sigmas = [[args.noise]] * 2
        drawn = draw_sources(scene.noisy, sigmas, prior, sample_seeds(args.seed, args.samples))
        for name, rows, clean in zip(("first source", "second source"), drawn, scene.clean, strict=True):
            found.setdefault(name, Calibration()).add(of_rows(rows), clean)
        for name, rectification in fused_by.items():
            clean = fuse(None, scene.clean, diffusion=prior.diffusion, rectification=rectification)
            rows = fuse(None, drawn, diffusion=prior.diffusion, rectification=rectification)
            found.setdefault(f"`{name}`, `prior: noise`", Calibration()).add(of_rows(rows), clean)
            if args.picture and rectification is local:
                rows_shown.append(shown(scene, of_rows(rows), clean))
        if args.chains:
            clean = fuse(None, scene.clean, diffusion=prior.diffusion, rectification=local)
            for label, spread in chains(args, scene, prior, local).items():
                found.setdefault(label, Calibration()).add(spread, clean)
    if args.picture:
        write_png(args.picture, stack(rows_shown))
    expected = [f"{student.cdf(times, args.samples - 1) * 2 - 1:.0%}" for times in (1, 2)]
    heads = ["", "error", "spread", "error / spread", "within 1 deviation", "within 2"]
    rows_of = [calibration.row(label) for label, calibration in found.items()]
    table = markdown_rows(heads, *rows_of, ["calibrated would be", "", "", "1.00", *expected])
    chained = f", chains of {args.steps} steps" if args.chains else ""
    return f"{table}\n\nPairs: {len(pairs)}; {args.samples} samples, noise {args.noise:g}{chained}."


def shown(scene: Scene, spread: Spread, clean: Tensor) -> np.ndarray:
    """Both noisy sources, the mean, its spread and how far it is off, each with the scale; (H, W, 3) uint8."""
    images = [round_to_uint8(levels_of(image[0, 0].numpy())) for image in (*scene.noisy, spread.mean)]
    off = (spread.mean - clean).abs()
    images += [uncertainty_picture(each[0, 0].numpy() * GREY) for each in (spread.deviation, off)]
    return row([np.repeat(image[:, :, None], 3, axis=2) for image in images], len(images[0]))


def chains(args: argparse.Namespace, scene: Scene, prior: Prior, local: Rectification) -> dict[str, Spread]:
    """Samples of ``local`` in a prior that fuses, by ddpm."""
    sigmas = [[args.noise]] * 2
    denoised, _ = clean_sources(scene.noisy, [args.noise] * 2, prior, args.seed)
    cases = {
        "`local`, `prior: true`, ddpm": (scene.noisy, sigmas, prior),
        "ddpm alone, sources denoised": (denoised, [[0.0]] * 2, None),
    }
    found = {}
    for label, (sources, own, noise_prior) in cases.items():
        found[label] = Spread()
        add_samples(
            found[label],
            args.samples,
            sources,
            own,
            noise_prior=noise_prior,
            prior=prior,
            seed=args.seed,
            rectification=local,
            sampler=ddpm_loop,
        )
    return found


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools.calibrate_samples",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="DIR", help="pairs, as sample.py takes them")
    add("--every", type=positive, default=1, metavar="N", help="every Nth pair (default: %(default)s)")
    add("--noise", type=float, default=20.0, metavar="SIGMA", help="grey levels (default: %(default)s)")
    add(
        "--samples",
        type=positive,
        default=8,
        metavar="K",
        help="of each pair, 2 or more (default: %(default)s)",
    )
    add(
        "--side",
        type=positive,
        default=128,
        metavar="N",
        help="of the part in the middle (default: %(default)s)",
    )
    add(
        "--steps",
        type=positive,
        default=100,
        metavar="N",
        help="of the sampler, with --chains (default: %(default)s)",
    )
    add("--seed", type=int, default=3407, metavar="N", help="(default: %(default)s)")
    add("--picture", type=Path, metavar="PNG", help="write the spread beside the error (default: not)")
    add("--chains", action="store_true", help="also sample in a prior that fuses (default: not)")
    add(
        "--model_config",
        default="grey",
        metavar="YAML",
        help="the prior (default: %(default)s, by which local sees noisy sources)",
    )
    args = parser.parse_args(argv)
    if args.samples < 2 or args.noise <= 0 or args.side < MULTIPLE:
        parser.error(f"--samples must be 2 or more, --noise above 0, --side {MULTIPLE} or more")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return resumable.run(lambda: print(calibrate(args)))


if __name__ == "__main__":
    sys.exit(main())
