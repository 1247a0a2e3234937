"""Measure what docs/reproduction.md says, and fill its tables in.

    python -m tools.reproduce --data DATA --runs released:alone:100 released:ddim:25 paper:ddim:25:10

finds RoadScene, TNO, MRI-CT and MRI-PET in DATA as ``evaluate.py --table`` does, fuses them as ``sample.py`` does in
every way that ``--runs`` names (variant:sampler:steps, and optionally how many pairs of each set), measures the
results and writes the tables between the marks of ``--document``. Finished images of an earlier time are kept.
The local variants take clean sources as they are: ``local:alone:20``, ``local_fast:alone:1``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tools import resumable
from tools.reproduction import checks
from tools.reproduction.grid import (
    DATASETS,
    Grid,
    Run,
    alone_table,
    beside_table,
    grid_table,
    shared_table,
)
from util.cli.arguments import positive
from util.evaluation.published import read_published
from util.files import project_root, write_atomically
from util.markdown import fill_card

ROOT = project_root()
TABLES = ("grid", "alone", "beside", "shared", "copies", "distance", "stretch", "definitions", "borders")
RUNS = [f"{variant}:alone:100" for variant in ("released", "paper")] + ["released:ddim:25"]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools.reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder that holds the data sets")
    add("--runs", nargs="+", default=RUNS, metavar="RUN", help=f"ways of fusing (default: {' '.join(RUNS)})")
    add("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), help="(default: all four)")
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="to make (default: all)")
    add("--model_config", type=Path, metavar="YAML", help="the prior (default: that of sample.py)")
    add("--limit", type=positive, metavar="N", help="at most the first N pairs of each set, in every run")
    add(
        "--out", type=Path, default=ROOT / "output/reproduction", metavar="DIR", help="(default: %(default)s)"
    )
    add("--document", type=Path, metavar="FILE", help="write the tables into it (default: only print them)")
    add(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that measure (default: %(default)s)",
    )
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> dict[str, str]:
    """Every table by the name of its mark. Raises ValueError, KeyboardInterrupt."""
    published = read_published(ROOT / "configs/published_tables.yaml")
    grid = Grid(args.data, args.out, ROOT, args.model_config, args.workers)
    for text in args.runs:
        run = Run.parse(text)
        if args.limit:
            run = Run(run.variant, run.sampler, run.steps, min(args.limit, run.limit or args.limit))
        grid.add(run, args.datasets)
    if not grid.results:
        raise ValueError(f"{args.data} holds none of {', '.join(args.datasets)}")
    sections: dict[str, Callable[[], str]] = {
        "grid": lambda: grid_table(grid, published),
        "alone": lambda: alone_table(grid),
        "beside": lambda: beside_table(grid),
        "shared": lambda: shared_table(grid),
        **checks.tables(grid, published),
    }
    return {name: make() for name, make in sections.items() if name in args.tables}


def reproduce(args: argparse.Namespace) -> None:
    """Print the tables, and write them. Raises ValueError, OSError, KeyboardInterrupt."""
    sections = measure(args)
    for name, content in sections.items():
        print(f"## {name}\n\n{content}\n")
        write_atomically(args.out / f"{name}.md", content.encode())
    if args.document:
        fill_card(args.document, sections)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return resumable.run(lambda: reproduce(args))


if __name__ == "__main__":
    sys.exit(main())
