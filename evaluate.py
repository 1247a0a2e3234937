"""Metrics of a folder of fused images: ``python evaluate.py --fused DIR --ir DIR --vi DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from util.evaluation import Evaluation, evaluate_triples, find_triples
from util.files import write_atomically
from util.logger import get_logger
from util.metrics import METRICS, Protocol
from util.pairs import Problem


def metric_list(text: str) -> list[str]:
    """Comma-separated names of metrics, whatever their case."""
    known = {name.lower(): name for name in METRICS}
    names = [part.strip().lower() for part in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    return [known[name] for name in names]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Metrics of fused images against their sources, files of the same name in three folders.",
        epilog="Exit status: 0 all evaluated; 1 some files are missing, extra or unusable; 2 nothing evaluated.",
    )
    add = parser.add_argument
    add("--fused", type=Path, required=True, metavar="DIR", help="fused images, such as output/recon")
    add("--ir", type=Path, required=True, metavar="DIR", help="infrared sources (or CT, PET, SPECT)")
    add("--vi", type=Path, required=True, metavar="DIR", help="visible sources (or MRI)")
    add(
        "--metrics",
        type=metric_list,
        metavar="LIST",
        default=list(METRICS),
        help=f"comma-separated (default: {','.join(METRICS)})",
    )
    add(
        "--protocol",
        choices=get_args(Protocol),
        default="ddfm",
        help="ddfm: as published tables were made, quirks included; standard: SSIM and PSNR of range 255, "
        "Qabf without quirks (default: ddfm)",
    )
    add("--json", type=Path, metavar="FILE", help="write means and every image's values (default: not)")
    add("--csv", type=Path, metavar="FILE", help="write every image's values (default: not)")
    add("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error("--workers must be at least 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    log = get_logger()
    try:
        triples, problems = find_triples(args.fused, args.ir, args.vi)
    except ValueError as error:
        log.error(error)
        return 2
    result = Evaluation(args.protocol, args.metrics, problems=problems)
    outcomes = evaluate_triples(triples, args.metrics, args.protocol, args.workers)
    for triple, outcome in tqdm(zip(triples, outcomes, strict=True), total=len(triples), disable=None):
        if isinstance(outcome, Problem):
            result.problems.append(outcome)
        else:
            result.images[triple.stem] = outcome
    for problem in result.problems:
        log.error(f"{problem.stem}: {problem.reason}")
    if not result.images:
        log.error("nothing could be evaluated")
        return 2
    print(result.table())  # noqa: T201
    try:
        for path, content in ((args.json, result.to_json), (args.csv, result.to_csv)):
            if path is not None:
                write_atomically(path, content().encode())
    except OSError as error:
        log.error(f"a report cannot be written: {error}")
        return 1
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
