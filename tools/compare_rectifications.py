"""Ways of fusing beside each other, on pairs as they are or with noise added, as Markdown.

    python -m tools.compare_rectifications --input RoadScene --published CDDFuse_RoadScene
    python -m tools.compare_rectifications --input RoadScene --every 6 --noise 20 --scores noisy.json

With ``--scores`` what is measured is kept pair by pair, and the same command goes on after an interruption.
Without a prior: the mean and the brighter of both, a Laplacian pyramid, the rectifications ``released`` and ``paper``
(stretched, as they are written), ``local_fast`` and ``local``. With ``--noise`` the sources get white noise, all is
measured against the clean ones, and ``local`` is shown without and with their denoising by the prior. The first six
metrics are the paper's; of these ``local`` climbs VIF, Qabf and SSIM, and no one climbs those after them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from guided_diffusion.local.weights import task_of_names
from guided_diffusion.ycbcr import luma_tensor
from tools import resumable
from tools.ways_of_fusing import Way, ways
from util.cli.arguments import positive
from util.evaluation.folders import mean_of
from util.evaluation.metrics import PAPER_METRICS, evaluate
from util.evaluation.tables import printed
from util.files import write_atomically
from util.images.image_io import read_image
from util.images.levels import levels_of, round_to_uint8, stretch
from util.images.pairs import PairFiles, find_pairs
from util.images.png import write_png
from util.images.source_folders import source_folders
from util.markdown import markdown_rows
from util.prior import open_prior

OTHERS = ("SCD", "Q_W", "Qcb", "Q_MI", "VIF_min", "SSIM_min")
Scores = dict[str, dict[str, float]]
"""Of one pair: by the way of fusing, then by the metric."""
MULTIPLE = 32


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools.compare_rectifications",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, metavar="DIR", help="pairs, as sample.py takes them")
    add("--ir", type=Path, metavar="DIR", help="the first source, where --input holds no folder ir")
    add("--vi", type=Path, metavar="DIR", help="the second source")
    add("--clean_ir", type=Path, metavar="DIR", help="the first source without its noise, to measure against")
    add("--task", choices=["ivf", "mif", "focus", "exposure"], help="(default: by the names, else ivf)")
    add("--every", type=positive, default=1, metavar="N", help="every Nth pair (default: %(default)s)")
    add("--noise", type=float, default=0.0, metavar="SIGMA", help="grey levels, on both (default: none)")
    add("--skip", nargs="*", default=[], metavar="WORD", help="ways to leave out, as released paper mean")
    add("--brief", action="store_true", help="the paper's six metrics only (default: more of them)")
    add("--published", type=Path, nargs="*", default=[], metavar="DIR", help="fused images of other methods")
    add("--model_config", metavar="YAML", help="the prior for noise (default: that of sample.py)")
    add("--out", type=Path, metavar="DIR", help="write the fused images, a folder a way (default: not)")
    add(
        "--scores",
        type=Path,
        metavar="JSON",
        help="keep what is measured, to go on from there (default: not)",
    )
    return parser.parse_args(argv)


def load(files: PairFiles, args: argparse.Namespace, fit: bool) -> list[np.ndarray]:
    """ir, vi and the ir to measure against, uint8; with ``fit`` cut to multiples of 32 for the prior."""
    clean = files.ir if args.clean_ir is None else next(args.clean_ir.glob(f"{files.stem}.*"))
    images = [read_image(path).luma for path in (files.ir, files.vi, clean)]
    height, width = (side - side % MULTIPLE if fit else side for side in images[0].shape)
    return [image[:height, :width] for image in images]


def noisy(level: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """``level`` with white noise, rounded and clipped to 8 bits, as a camera would hand it on."""
    return np.clip(np.rint(level + sigma * generator.standard_normal(level.shape)), 0, 255).astype(np.uint8)


def to_image(way: Way, fused: Tensor) -> np.ndarray:
    luma = fused[0, 0].numpy()
    return round_to_uint8(stretch(luma) if way.stretched else levels_of(luma))


def measure(
    fused: np.ndarray, ir: np.ndarray, vi: np.ndarray, target: np.ndarray | None, others: Sequence[str]
) -> dict[str, float]:
    """The paper's metrics and ``others``; ``target``: the fusion of the clean sources, for the PSNR to it."""
    scores = evaluate(fused, ir, vi, [*PAPER_METRICS, *others])
    flat = [image.ravel().astype(float) for image in (fused, ir, vi)]
    like = [
        np.corrcoef(flat[0], source)[0, 1] if np.ptp(source) and np.ptp(flat[0]) else 0 for source in flat[1:]
    ]
    scores["like"] = float(max(like))
    if target is not None:
        error = max(float(((fused.astype(float) - target) ** 2).mean()), 1e-12)
        scores["PSNR"] = 10 * float(np.log10(255**2 / error))
    return scores


def compare(args: argparse.Namespace) -> str:
    """The table. Raises ValueError, OSError."""
    if args.input is None and (args.ir is None or args.vi is None):
        raise ValueError("give --input DIR, or --ir DIR and --vi DIR")
    folders = source_folders(args.input or args.ir.parent, args.ir, args.vi)
    pairs = find_pairs(*folders)[0][:: args.every]
    told = task_of_names([part for folder in folders for part in folder.parts[-2:]])
    task = args.task or (told[0] if told else "ivf")
    noisy_run = args.noise > 0 or args.clean_ir is not None
    chosen = ways(task, open_prior(args.model_config, device="cpu") if noisy_run else None)
    chosen = [way for way in chosen if not any(word in way.label for word in args.skip)]
    others = () if args.brief else (*OTHERS, *(["MEF_SSIM"] if task == "exposure" else []))
    kept = Kept(args)
    for number, files in enumerate(pairs):
        if files.stem not in kept.pairs:
            kept.add(files.stem, measure_pair(files, number, args, chosen, others, noisy_run))
    scores: dict[str, list[dict[str, float]]] = {}
    for files in pairs:
        for label, row in kept.pairs[files.stem].items():
            scores.setdefault(label, []).append(row)
    return table(scores, len(pairs))


class Kept:
    """The scores of the pairs so far, by their stems; with ``--scores`` in a file. Raises ValueError."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.path: Path | None = args.scores
        self.settings = {k: str(v) for k, v in vars(args).items() if k not in ("scores", "out")}
        self.pairs: dict[str, Scores] = {}
        if self.path is None or not self.path.exists():
            return
        try:
            found = json.loads(self.path.read_text())
            same = found["settings"] == self.settings
            self.pairs = found["pairs"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path}: no scores of this tool; give another --scores") from error
        if not same:
            raise ValueError(f"{self.path}: scores of another command; give another --scores")

    def add(self, stem: str, scores: Scores) -> None:
        self.pairs[stem] = scores
        if self.path is not None:
            content = json.dumps({"settings": self.settings, "pairs": self.pairs})
            write_atomically(self.path, content.encode())


def measure_pair(
    files: PairFiles,
    number: int,
    args: argparse.Namespace,
    chosen: Sequence[Way],
    others: Sequence[str],
    noisy_run: bool,
) -> Scores:
    """The scores of every way, and of the published images, on one pair; ``number`` seeds its noise."""
    scores: Scores = {}
    ir, vi, clean = load(files, args, fit=noisy_run)
    generator = np.random.default_rng(number)
    seen = [noisy(image, args.noise, generator) if args.noise > 0 else image for image in (ir, vi)]
    a, b, c, d = (luma_tensor(image[None], "cpu") for image in (*seen, clean, vi))
    targets: dict[str, np.ndarray] = {}
    for way in chosen:
        fused = to_image(way, way.fuse(a, b))
        base = chosen[_base(chosen, way)]
        if noisy_run and base.label not in targets:
            plain = dataclasses.replace(way, fuse=base.fuse)
            targets[base.label] = to_image(plain, plain.fuse(c, d))
        scores[way.label] = measure(fused, clean, vi, targets.get(base.label), others)
        if args.out:
            folder = args.out / way.label.translate(str.maketrans(" ,:", "___", "`"))
            write_png(folder / f"{files.stem}.png", fused)
    for folder in args.published:
        path = next(iter(folder.glob(f"{files.stem}.*")), None)
        if path is not None and not noisy_run:
            fused = read_image(path).luma
            height, width = fused.shape
            cut = ir[:height, :width], vi[:height, :width]
            scores[folder.name] = measure(fused, *cut, None, others)
    return scores


def _base(chosen: Sequence[Way], way: Way) -> int:
    """The place of the way that ``way`` is without denoising."""
    return [other.label for other in chosen].index(way.label.split(", `noise")[0])


def table(scores: dict[str, list[dict[str, float]]], count: int) -> str:
    """Means over the pairs."""
    names = list(next(iter(scores.values()))[0])
    heads = {"like": "correlation with the nearer source", "PSNR": "PSNR to its fusion of the clean sources"}
    rows = [["", *(heads.get(name, name) for name in names)]]
    for label, each in scores.items():
        mean = mean_of(each)
        rows.append(
            [f"{label}{f' ({len(each)} images)' * (len(each) != count)}", *(printed(mean[n]) for n in names)]
        )
    return f"{markdown_rows(*rows)}\n\nPairs: {count}; means over them."


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return resumable.run(lambda: print(compare(args)))


if __name__ == "__main__":
    sys.exit(main())
