"""One picture of one or more runs: a row for each pair with its sources and each run's result.

python -m tools.contact_sheet --results output output/local --out docs/results.png

A single run shows its fused image and, if any, the one in colour; several show the one in colour where there is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from util.images.image_io import decode_rgb
from util.images.pairs import find_pairs
from util.images.png import write_png
from util.images.sheet import row, stack
from util.run.contact_sheet import results_of


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, default=Path("input"), help="the pairs (default %(default)s)")
    parser.add_argument(
        "--sources",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="their folders, as of sample.py, in place of --input",
    )
    parser.add_argument(
        "--results", type=Path, nargs="+", default=[Path("output")], help="of a run each (default: output)"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--height", type=int, default=160, help="of a row in pixels (default %(default)s)")
    parser.add_argument("--stems", nargs="+", help="only these pairs (default: all that have a result)")
    args = parser.parse_args(argv)
    rows = []
    for pair in find_pairs(*(args.sources or (args.input / "ir", args.input / "vi")))[0]:
        found = [results_of(folder, pair.stem, len(args.results) == 1) for folder in args.results]
        if all(found) and (args.stems is None or pair.stem in args.stems):
            paths = [*pair.paths, *(path for of_run in found for path in of_run)]
            rows.append(row([decode_rgb(path.read_bytes(), str(path)) for path in paths], args.height))
    if not rows:
        where, runs = (", ".join(map(str, names)) for names in (args.sources or [args.input], args.results))
        sys.exit(f"contact_sheet: no pair of {where} has a result in {runs}: run sample.py first")
    write_png(args.out, stack(rows))
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
