"""What a precision changes: the same pairs fused with each, the six metrics beside those of float32.

    python -m tools.compare_precision --data DIR --precisions bf16 --pairs 10 --steps 25

DIR has the folders ir and vi, or is a data set as sample.py takes it. Printed are the means over the pairs, their
change relative to fp32, the largest difference of a pixel of the 8-bit results, and seconds a pair.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.execution import DTYPES, Precision
from guided_diffusion.fusion import fuse
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.prior import Prior
from guided_diffusion.samplers import SAMPLERS, with_eta
from guided_diffusion.ycbcr import luma_tensor
from util.allocator import keep_freed_memory
from util.cli.arguments import positive
from util.device import check_precision, choose_device, device_label
from util.evaluation.metrics import PAPER_METRICS, evaluate
from util.files import project_root
from util.images.levels import round_to_uint8, stretch
from util.images.pairs import Pair, find_pairs, fit, load_pair
from util.images.source_folders import source_folders
from util.logger import get_logger
from util.markdown import markdown_rows
from util.prior import choose_prior, open_prior, read_config

ROOT = project_root()
BOUND = 0.01
"""Relative change of a metric up to which a precision counts as good as float32."""


@dataclass(frozen=True)
class Process:
    """How every pair is fused, whatever the precision."""

    device: torch.device
    diffusion_config: DiffusionConfig
    fusion_config: FusionConfig


def fuse_pair(prior: Prior, process: Process, pair: Pair) -> np.ndarray:
    """The fused luma (H, W) uint8 of a pair, cropped to multiples of 32."""
    ir, vi = (luma_tensor(fit(image.luma, "crop")[None], process.device) for image in (pair.ir, pair.vi))
    config = process.fusion_config
    fused = fuse(
        prior,
        (ir, vi),
        rectification=config.em,
        sampler=with_eta(SAMPLERS[process.diffusion_config.sampler], config.eta),
        seed=config.seed,
        warm_start=config.warm_start,
    )
    return round_to_uint8(stretch(fused[0, 0].cpu().numpy()))


def change(value: float, exact: float) -> float:
    """Relative to ``exact``; what is 0 in both has not changed."""
    if value == exact:
        return 0.0
    return (value - exact) / abs(exact) if exact else math.inf


def table(
    scores: dict[Precision, np.ndarray], pixels: dict[Precision, int], seconds: dict[Precision, float]
) -> str:
    """Markdown; scores: (pairs, metrics) of each precision, fp32 among them."""
    lines = [["precision", *PAPER_METRICS, "largest change", "pixel", "s/pair"]]
    exact = scores["fp32"].mean(axis=0)
    for precision, rows in scores.items():
        means = rows.mean(axis=0)
        changes = [change(*values) for values in zip(means.tolist(), exact.tolist(), strict=True)]
        cells = [f"{mean:.4f} ({moved:+.2%})" for mean, moved in zip(means, changes, strict=True)]
        worst = max(map(abs, changes))
        verdict = f"{worst:.2%}, {'under' if worst < BOUND else 'not under'} {BOUND:.0%}"
        lines.append([precision, *cells, verdict, str(pixels[precision]), f"{seconds[precision]:.1f}"])
    return markdown_rows(*lines)


def compare(precisions: Sequence[Precision], process: Process, pairs: Sequence[Pair], path: Path) -> str:
    """Fuse ``pairs`` with every precision, float32 first, and say what that changes. Raises as open_prior does."""
    fused: dict[Precision, list[np.ndarray]] = {}
    seconds: dict[Precision, float] = {}
    names: list[Precision] = ["fp32", *(name for name in precisions if name != "fp32")]
    for name in names:
        runtime = replace(process.fusion_config.runtime, precision=name)
        prior = open_prior(path, diffusion=process.diffusion_config, runtime=runtime, device=process.device)
        started = time.perf_counter()
        fused[name] = [fuse_pair(prior, process, pair) for pair in pairs]
        seconds[name] = (time.perf_counter() - started) / len(pairs)
    scores, pixels = {}, {}
    for name, images in fused.items():
        sources = [(fit(pair.ir.luma, "crop"), fit(pair.vi.luma, "crop")) for pair in pairs]
        found = [evaluate(image, *both, PAPER_METRICS) for image, both in zip(images, sources, strict=True)]
        scores[name] = np.array([[row[metric] for metric in PAPER_METRICS] for row in found])
        pixels[name] = max(
            int(np.abs(image.astype(int) - exact).max())
            for image, exact in zip(images, fused["fp32"], strict=True)
        )
    return table(scores, pixels, seconds)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="pairs of images")
    add(
        "--precisions", nargs="+", choices=list(DTYPES), default=["bf16", "fp16"], help="(default: bf16 fp16)"
    )
    add("--pairs", type=positive, default=10, metavar="N", help="the first N (default %(default)s)")
    add("--steps", type=positive, default=100, metavar="N", help="of the sampler (default %(default)s)")
    add("--model_config", type=Path, metavar="YAML", help="the prior (default: as sample.py)")
    add(
        "--fusion_config",
        type=Path,
        default=ROOT / "configs/fusion_config.yaml",
        metavar="YAML",
        help="(default: shipped)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    return parser.parse_args(argv)


def load_pairs(data: Path, count: int) -> tuple[list[Pair], list[str]]:
    """The first ``count`` pairs that are found, and what is wrong with others. Raises InputError."""
    files, problems = find_pairs(*source_folders(data))
    pairs, reasons = [], [f"{problem.stem}: {problem.reason}" for problem in problems]
    for each in files[:count]:
        try:
            pairs.append(load_pair(each))
        except ValueError as error:
            reasons.append(f"{each.stem}: {error}")
    return pairs, reasons


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all compared; 1 some files are unusable; 2 nothing to compare."""
    args = parse_args(argv)
    log = get_logger()
    keep_freed_memory()
    try:
        device = choose_device(args.device, None)
        for precision in args.precisions:
            check_precision(precision, device)
        path, _ = choose_prior(args.model_config, ROOT)
        config: DiffusionConfig = read_config(DiffusionConfig, ROOT / "configs/diffusion_config.yaml")
        config = replace(config, timestep_respacing=args.steps)
        process = Process(device, config, read_config(FusionConfig, args.fusion_config))
        pairs, reasons = load_pairs(args.data, args.pairs)
        for reason in reasons:
            log.error(reason)
        if not pairs:
            raise ValueError(f"{args.data}: no pair can be used")
        outcome = compare(args.precisions, process, pairs, path)
    except (ValueError, OSError) as error:
        log.error(error)
        return 2
    print(
        f"{device_label(device)}, {len(pairs)} pairs, {args.steps} steps, prior of {path.name}; mean (change from "
        f"fp32)\n\n{outcome}"
    )
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
