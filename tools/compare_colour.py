"""Compare the ways of giving fused images their colour, on finished results.

Every method colours the same fused images; printed are the means over all images of a colour source.

    python -m tools.compare_colour --fused output/recon --ir input/ir --vi input/vi --out docs/colour.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from util.evaluation.folders import Triple, find_triples
from util.evaluation.measures.colour import HEADINGS, measures
from util.images.colour import ColourMethod, ColourMode, colour_source, colourise
from util.images.image_io import read_image
from util.images.pairs import PairFiles, fitted_size, load_pair
from util.images.png import write_png
from util.images.sheet import row, stack

METHODS: tuple[ColourMethod, ...] = get_args(ColourMethod)


def load(triple: Triple, mode: ColourMode) -> tuple[np.ndarray, np.ndarray] | None:
    """The fused luma (H, W) and the colours (H, W, 3), both uint8; None when no source is in colour.

    Raises ValueError, naming the file, for one that cannot be used or does not fit.
    """
    fused = read_image(triple.fused)
    pair = load_pair(PairFiles(triple.stem, (triple.ir, triple.vi)))
    if fused.size not in (pair.size, fitted_size(pair.size, "crop")):
        raise ValueError(
            f"{triple.fused} is {fused.size}, but its sources are {pair.size}: it is not of them"
        )
    colours = colour_source([source.rgb for source in pair.sources], mode)
    height, width = fused.size
    return None if colours is None else (fused.luma, colours[:height, :width])


def differing_part(a: np.ndarray, b: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns, a third of each, in which two (H, W, 3) images differ most."""
    high, wide = a.shape[0] // 3, a.shape[1] // 3
    total = np.pad(np.abs(a.astype(float) - b).sum(axis=2), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    top, left = (int(index) for index in np.unravel_index(sums.argmax(), sums.shape))
    return slice(top, top + high), slice(left, left + wide)


def pictures(luma: np.ndarray, colours: np.ndarray, height: int) -> np.ndarray:
    """Two rows: colours, fused, and the result of each method; then the part where methods differ most."""
    results = [colourise(luma, colours, method) for method in METHODS]
    images = [colours, np.repeat(luma[:, :, None], 3, axis=2), *results]
    part = differing_part(results[0], results[-1])
    return stack([row(images, height), row([image[part] for image in images], height, enlarge=True)])


def table(scores: dict[ColourMethod, list[dict[str, float]]]) -> str:
    """Means over the images, a line for each method, and what the columns mean."""
    count = len(next(iter(scores.values())))
    lines = [f"{count} images", f"{'':8}" + "".join(f"{name:>9}" for name in HEADINGS)]
    for method, rows in scores.items():
        means = [_mean([r[name] for r in rows]) for name in HEADINGS]
        lines.append(f"{method:8}" + "".join(f"{mean:9.3f}" for mean in means))
    return "\n".join(lines + [f"{name}: {meaning}" for name, meaning in HEADINGS.items()])


def _mean(values: Sequence[float]) -> float:
    """Over the images in which the measure is defined."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--fused", type=Path, required=True, metavar="DIR", help="fused images, such as output/recon")
    add("--ir", type=Path, required=True, metavar="DIR", help="infrared sources (or CT, PET, SPECT)")
    add("--vi", type=Path, required=True, metavar="DIR", help="visible sources (or MRI)")
    add("--color", choices=get_args(ColourMode)[:-1], default="auto", help="source of the colour")
    add("--out", type=Path, metavar="FILE", help="PNG file for a picture (default: none)")
    add("--stems", nargs="+", metavar="NAME", help="images in the picture (default: all)")
    add("--height", type=int, default=220, help="of its rows in pixels (default %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all compared; 1 some files are unusable or the picture is; 2 nothing to compare."""
    args = parse_args(argv)
    try:
        triples, problems = find_triples(args.fused, args.ir, args.vi)
    except ValueError as error:
        print(f"compare_colour: {error}", file=sys.stderr)
        return 2
    reasons = [f"{problem.stem}: {problem.reason}" for problem in problems]
    scores: dict[ColourMethod, list[dict[str, float]]] = {method: [] for method in METHODS}
    rows: list[np.ndarray] = []
    for triple in triples:
        try:
            loaded = load(triple, args.color)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if loaded is None:
            continue
        for method in METHODS:
            scores[method].append(measures(colourise(*loaded, method), *loaded))
        if args.out and (args.stems is None or triple.stem in args.stems):
            rows.append(pictures(*loaded, args.height))
    for reason in reasons:
        print(f"compare_colour: {reason}", file=sys.stderr)
    if not scores[METHODS[0]]:
        print("compare_colour: no pair has a source in colour", file=sys.stderr)
        return 2
    print(table(scores))
    if rows:
        try:
            write_png(args.out, stack(rows))
        except OSError as error:
            print(f"compare_colour: {args.out} cannot be written: {error}", file=sys.stderr)
            return 1
        print(f"wrote {args.out}")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
