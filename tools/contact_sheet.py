"""One picture of one or more runs: a row for each pair with both sources and each run's result.

python -m tools.contact_sheet --results output output/local --out docs/results.png

A single run shows its fused image and, if any, the one in colour; several show the one in colour where there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from util.images.image_io import decode_rgb
from util.images.pairs import find_pairs
from util.images.png import write_png

GAP = 6


def row(pictures: Sequence[np.ndarray], height: int, enlarge: bool = False) -> np.ndarray:
    """The (H, W, 3) uint8 images side by side, each scaled to ``height``, on white.

    ``enlarge``: leave their pixels visible as squares.
    """
    images = []
    for picture in pictures:
        image = Image.fromarray(picture)
        size = (round(image.width * height / image.height), height)
        images.append(image.resize(size, Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (sum(i.width + GAP for i in images) - GAP, height), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP
    return np.asarray(sheet)


def stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W, 3) uint8 images below each other, on white."""
    height = sum(len(each) + GAP for each in rows) - GAP
    sheet = np.full((height, max(each.shape[1] for each in rows), 3), 255, np.uint8)
    top = 0
    for each in rows:
        sheet[top : top + len(each), : each.shape[1]] = each
        top += len(each) + GAP
    return sheet


def results_of(folder: Path, stem: str, both: bool) -> list[Path]:
    """What to show of a pair in a run's folder: grey and colour, or the one in colour if any; nothing: no result."""
    grey, colour = (folder / kind / f"{stem}.png" for kind in ("recon", "color"))
    if not grey.exists():
        return []
    best = colour if colour.exists() else grey
    return [grey, best] if both else [best]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, default=Path("input"), help="the pairs (default %(default)s)")
    parser.add_argument(
        "--results", type=Path, nargs="+", default=[Path("output")], help="of a run each (default: output)"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--height", type=int, default=160, help="of a row in pixels (default %(default)s)")
    parser.add_argument("--stems", nargs="+", help="only these pairs (default: all that have a result)")
    args = parser.parse_args(argv)
    rows = []
    for pair in find_pairs(args.input / "ir", args.input / "vi")[0]:
        found = [results_of(folder, pair.stem, len(args.results) == 1) for folder in args.results]
        if all(found) and (args.stems is None or pair.stem in args.stems):
            paths = [pair.ir, pair.vi, *(path for of_run in found for path in of_run)]
            rows.append(row([decode_rgb(path.read_bytes(), str(path)) for path in paths], args.height))
    if not rows:
        sys.exit(
            f"contact_sheet: no pair of {args.input} has a result in {', '.join(map(str, args.results))}: run "
            "sample.py first"
        )
    write_png(args.out, stack(rows))
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
