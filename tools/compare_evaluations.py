"""Fewer evaluations of the prior: what they change against 100 steps of DDIM.

    python -m tools.compare_evaluations --input RoadScene --limit 2 --out output/evaluations

fuses the same pairs with 10, 15, 25 and 50 evaluations by DDIM and by DPM-Solver++(2M), each from noise and from EM
alone with noise added at a timestep (``warm_start``), measures the six metrics of the paper, and compares every image
with that of the reference. ``--picture`` shows the first pair's differences for one number of evaluations.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion_config import FusionConfig
from tools import resumable
from util.cli.arguments import positive
from util.evaluation.folders import mean_of
from util.evaluation.metrics import PAPER_METRICS, evaluate
from util.evaluation.tables import printed
from util.files import project_root
from util.images.image_io import read_image
from util.images.pairs import PairFiles, find_pairs
from util.images.png import write_png
from util.images.sheet import row, stack
from util.images.source_folders import source_folders
from util.markdown import markdown_rows
from util.prior import read_config
from util.run.folder import fuse_folder
from util.run.settings import FolderSettings

ROOT = project_root()
REFERENCE_STEPS = 100


@dataclass(frozen=True)
class Way:
    """One way of sampling; ``warm``: the timestep at which it starts, 0 for pure noise."""

    sampler: str
    evaluations: int
    warm: int = 0

    @property
    def label(self) -> str:
        return f"{self.sampler}{f', warm start at {self.warm}' * bool(self.warm)}"

    @property
    def folder(self) -> str:
        return f"{self.sampler}_{self.evaluations}_{self.warm}"

    def configure(self, root: Path) -> tuple[FusionConfig, DiffusionConfig]:
        """The configurations of the project in ``root`` but for what this way changes."""
        respacing: int | str = self.evaluations
        if self.warm:  # all evaluations below the start, none above
            respacing = round(self.evaluations * 1000 / self.warm)
        fusion: FusionConfig = read_config(FusionConfig, root / "configs/fusion_config.yaml")
        diffusion: DiffusionConfig = read_config(DiffusionConfig, root / "configs/diffusion_config.yaml")
        return dataclasses.replace(fusion, warm_start=self.warm or None), dataclasses.replace(
            diffusion, sampler=self.sampler, timestep_respacing=respacing
        )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools.compare_evaluations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, required=True, metavar="DIR", help="pairs, as sample.py takes them")
    add("--limit", type=positive, metavar="N", help="only the first N pairs (default: all)")
    add("--out", type=Path, default=ROOT / "output/evaluations", metavar="DIR", help="(default: %(default)s)")
    add("--evaluations", type=positive, nargs="+", default=[10, 15, 25, 50], help="(default: 10 15 25 50)")
    add("--warm_start", type=positive, default=400, metavar="T", help="timestep (default: %(default)s)")
    add("--reference_steps", type=positive, default=REFERENCE_STEPS, help="of DDIM (default: %(default)s)")
    add("--model_config", type=Path, metavar="YAML", help="the prior (default: that of sample.py)")
    add("--picture", type=Path, metavar="PNG", help="write differences of the first pair (default: not)")
    return parser.parse_args(argv)


def fuse(way: Way, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """The fused images of all pairs by stem, (H, W) uint8; finished ones are kept. Raises ValueError."""
    fusion, diffusion = way.configure(ROOT)
    run = fuse_folder(
        FolderSettings(
            save_dir=args.out / way.folder,
            input=args.input,
            model_config=args.model_config,
            diffusion=diffusion,
            fusion=fusion,
            limit=args.limit,
            quiet=True,
        )
    )
    if run.interrupted:
        raise KeyboardInterrupt
    if run.exit_status != 0:
        raise ValueError(f"{way.label}, {way.evaluations} evaluations: {run.summary(())}")
    return {pair.stem: read_image(Path(pair.files[-1])).luma for pair in run.pairs}


def line(
    way: Way, images: dict[str, np.ndarray], reference: dict[str, np.ndarray], sources: list[PairFiles]
) -> list[str]:
    """A row of the table: metrics, and differences from the reference in grey levels, means over the pairs."""
    scores = []
    for files in sources:
        fused = images[files.stem]
        height, width = fused.shape
        ir, vi = (read_image(path).luma[:height, :width] for path in (files.ir, files.vi))
        error = fused.astype(float) - reference[files.stem]
        apart = {"rms": float(np.sqrt((error**2).mean())), "max": float(np.abs(error).max())}
        scores.append(evaluate(fused, ir, vi, PAPER_METRICS) | apart)
    mean = mean_of(scores)
    cells = [printed(mean[name]) for name in PAPER_METRICS]
    return [way.label, str(way.evaluations), *cells, f"{mean['rms']:.2f}", f"{mean['max']:.0f}"]


def picture(images: dict[Way, np.ndarray], reference: np.ndarray, gain: int = 8) -> np.ndarray:
    """(H, W, 3): the reference and, below, every way's difference from it, ``gain`` times, 128 being none."""

    def rgb(image: np.ndarray) -> np.ndarray:
        return np.repeat(image[:, :, None], 3, axis=2)

    height = reference.shape[0]
    changes = [
        np.clip(128 + gain * (image.astype(float) - reference), 0, 255).astype(np.uint8)
        for image in images.values()
    ]
    rows = [row([rgb(reference), *(rgb(image) for image in images.values())], height)]
    return stack([*rows, row([rgb(np.full_like(reference, 128)), *map(rgb, changes)], height)])


def compare(args: argparse.Namespace) -> str:
    """The table as Markdown; also writes the picture. Raises ValueError, KeyboardInterrupt."""
    found, problems = find_pairs(*source_folders(args.input))
    if problems:
        raise ValueError(f"{problems[0].stem}: {problems[0].reason}")
    sources = found[: args.limit]
    standard = Way("ddim", args.reference_steps)
    reference = fuse(standard, args)
    rows = [["sampler", "evaluations", *PAPER_METRICS, "RMS to the first row", "largest"]]
    rows.append(line(standard, reference, reference, sources))
    shown: dict[Way, np.ndarray] = {}
    for warm in (0, args.warm_start):
        for sampler in ("ddim", "dpmpp_2m"):
            for count in args.evaluations:
                way = Way(sampler, count, warm)
                images = fuse(way, args)
                rows.append(line(way, images, reference, sources))
                if count == args.evaluations[len(args.evaluations) // 2]:
                    shown[way] = images[sources[0].stem]
    if args.picture:
        write_png(args.picture, picture(shown, reference[sources[0].stem]))
    return f"{markdown_rows(*rows)}\n\nPairs: {len(sources)}; means over them, differences in grey levels."


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return resumable.run(lambda: print(compare(args)))


if __name__ == "__main__":
    sys.exit(main())
