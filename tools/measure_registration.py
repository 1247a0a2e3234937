"""How well pairs are registered whose infrared image has been moved by a known amount, as Markdown.

    python -m tools.measure_registration --input RoadScene --every 5
    python -m tools.measure_registration --input MRI_CT --mode translation --scale 1

Every pair is registered as it is and with its infrared image moved, scaled and turned; data sets are themselves out
of register by a pixel or two, so that the second registration is measured against the first: the mean distance of
where the two put the pixels of the visible image. Both are fused by ``local_fast``; VIF is of the part where all of
them overlap, and is read twice:

``VIF of its own sources``: against what was fused, the infrared image as it was brought onto the visible one. Whether
a moved pair fuses as the original does. ``VIF of the original's``: against the infrared image of the first
registration, and so how far the two registrations are apart as well: it falls by a tenth for a third of a pixel.
``exactly back``: by the inverse of the known displacement and the first registration, of which only the second
sampling is seen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from guided_diffusion.local.em import LocalFast
from tools import resumable
from util.cli.arguments import positive
from util.door import fuse
from util.evaluation.metrics import evaluate
from util.evaluation.tables import printed
from util.images.image_io import read_image
from util.images.levels import round_to_uint8
from util.images.pairs import find_pairs
from util.images.registration.mappings import Mapping, after, inverse
from util.images.registration.placement import Registration, Size, overlap, warp
from util.images.registration.search import register
from util.images.source_folders import source_folders
from util.markdown import markdown_rows

HEADS = (
    "pair", "misfit as it is", "misfit moved", "error",
    "VIF of its own sources: as it is", "registered", "moved and registered", "moved, unregistered",
    "VIF of the original's: exactly back", "moved and registered", "moved, unregistered", "remark",
)  # fmt: skip
WITHIN = 0.03
"""The part by which VIF may differ from that of the original pair, registered."""


def displacement(size: Size, shift: Sequence[float], scale: float, degrees: float) -> Registration:
    """That of an image (H, W) enlarged and turned around its middle, then moved by ``shift`` (x, y) pixels."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[cosine, sine], [-sine, cosine]]) / scale
    offset = middle - matrix @ (middle + np.array(shift))
    return Registration(matrix, offset, "similarity", 0.0, (0.0, 0.0))


def distance(size: Size, first: Registration, known: Registration, second: Registration) -> float:
    """Mean distance in infrared pixels between ``first`` and ``known`` after ``second``; size (H, W)."""
    grid = np.stack(np.meshgrid(*(np.linspace(0, side - 1, 9) for side in size[::-1]))).reshape(2, -1)
    through = known.matrix @ (second.matrix @ grid + second.offset[:, None]) + known.offset[:, None]
    return float(np.linalg.norm(through - first.matrix @ grid - first.offset[:, None], axis=0).mean())


def mapping(found: Registration) -> Mapping:
    """Without what is said of it."""
    return found.matrix, found.offset


def measure(ir: np.ndarray, vi: np.ndarray, args: argparse.Namespace) -> tuple[list[float], str]:
    """One row of :data:`HEADS` after its name; (H, W) uint8."""
    size, moved_size = (vi.shape[0], vi.shape[1]), (ir.shape[0], ir.shape[1])
    known = displacement(moved_size, args.shift, args.scale, args.rotation)
    moved = warp(ir, known, moved_size)
    first, second = register(ir, vi, args.mode), register(moved, vi, args.mode)
    matrix, offset = after(mapping(first), inverse(mapping(known)))
    back = replace(first, matrix=matrix, offset=offset)
    images = [ir, warp(ir, first, size), warp(moved, second, size), moved, warp(moved, back, size)]
    images = [round_to_uint8(np.clip(image, 0, 255).astype(float)) for image in images]
    covered = np.all([overlap(each, moved_size, size) for each in (first, back, second, known)], axis=0)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    fused = [fuse(None, [image, vi], rectification=LocalFast(task=args.task)).grey for image in images]

    def score(place: int, source: np.ndarray) -> float:
        return evaluate(fused[place][part], source[part], vi[part], ["VIF"])["VIF"]

    own = [score(place, images[place]) for place in range(4)]
    scores = [*own, *(score(place, images[1]) for place in (4, 2, 3))]
    error = distance(size, first, known, second)
    remark = "; ".join(filter(None, [first.refused, second.refused]))
    return [first.misfit, second.misfit, error, *scores], remark


def table(args: argparse.Namespace) -> str:
    """A row a pair, and their median. Raises ValueError, OSError."""
    pairs = find_pairs(*source_folders(args.input))[0][:: args.every]
    rows, values = [], []
    for files in pairs:
        ir, vi = (read_image(path).luma for path in (files.ir, files.vi))
        numbers, remark = measure(ir, vi, args)
        values.append(numbers)
        rows.append([files.stem, *map(printed, numbers), remark])
    middle = np.median(np.array(values, dtype=float), axis=0)
    near = sum(row[2] < 0.5 for row in values)
    own, original = (sum(abs(row[at] / row[4] - 1) <= WITHIN for row in values) for at in (5, 8))
    words = (
        f"error below 0.5: {near}; VIF within {WITHIN:.0%}: {own} of its own, {original} of the original's"
    )
    rows.append(["median", *map(printed, middle), f"of {len(values)}: {words}"])
    return markdown_rows(HEADS, *rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.measure_registration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, metavar="DIR", required=True, help="pairs, as sample.py takes them")
    add("--every", type=positive, default=1, metavar="N", help="every Nth pair (default: %(default)s)")
    add("--mode", choices=["translation", "affine"], default="affine", help="(default: %(default)s)")
    add("--task", choices=["ivf", "mif"], default="ivf", help="of local_fast (default: %(default)s)")
    add("--shift", type=float, nargs=2, default=[7, -4], metavar=("X", "Y"), help="pixels (default: 7 -4)")
    add("--scale", type=float, default=1.03, help="(default: %(default)s)")
    add("--rotation", type=float, default=0.0, metavar="DEGREES", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    return resumable.run(lambda: print(table(args)))


if __name__ == "__main__":
    sys.exit(main())
