"""The command line of ``evaluate.py``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from util.cli.arguments import matching, named_folder, positive, two_labels
from util.cli.table_arguments import add_tables, table_name
from util.evaluation.metrics import (
    ALL_METRICS,
    METRICS,
    OPTIONAL_METRICS,
    PAPER_METRICS,
    Protocol,
    instead_of,
)
from util.evaluation.views import Box

_EPILOG = """\
exit status: 0 all evaluated (with --table: all data sets that are there; missing ones are named below the
table); 1 some files are missing, extra or unusable, some fusion failed, or a report or the table cannot be written;
2 nothing evaluated; 130 interrupted
"""


def metric_list(text: str) -> list[str]:
    """Comma-separated names of metrics, whatever their case, or ``all``."""
    if text.strip().lower() == "all":
        return [name for name in ALL_METRICS if name not in OPTIONAL_METRICS]
    known = {name.lower(): name for name in ALL_METRICS}
    names = [part.strip().lower() for part in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            instead_of(unknown[0])
            or f"unknown metric {unknown[0]!r}; there are all, {', '.join(ALL_METRICS)}"
        )
    return list(dict.fromkeys(known[name] for name in names))


def box(text: str) -> Box:
    """``x,y,width,height`` in pixels."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not x,y,width,height in pixels, such as 40,60,96,64"
        ) from error
    if min(x, y) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must start in the image and have a size")
    return x, y, width, height


def evaluate_parser(root: Path) -> argparse.ArgumentParser:
    """The parser; default paths lie in ``root``, the folder of the project."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Metrics of fused images against their sources, files of the same name in three folders; of "
        "several methods, with --method or --methods; or, with --table, the paper's tables with rows made here.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_folders(parser)
    _add_methods(parser)
    _add_measuring(parser)
    add_tables(parser, root)
    _add_pictures(parser)
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("one folder of fused images").add_argument
    add("--fused", type=Path, metavar="DIR", help="fused images, such as output/recon")
    add("--ir", type=Path, metavar="DIR", help="infrared sources (or CT, PET, SPECT)")
    add("--vi", type=Path, metavar="DIR", help="visible sources (or MRI)")
    add("--json", type=Path, metavar="FILE", help="write means and every image's values (default: not)")
    add("--csv", type=Path, metavar="FILE", help="write every image's values (default: not)")


def _add_methods(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("several methods (with --ir and --vi)").add_argument
    add(
        "--method",
        type=named_folder,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="fused images of a method, or a results root with recon in it; several times for several methods",
    )
    add(
        "--methods",
        type=Path,
        metavar="ROOT",
        help="a folder that holds a folder for each method; ir and vi in it are the sources unless others are given",
    )
    add(
        "--table_like",
        type=table_name,
        metavar="N",
        help="print them as Table 1, 2, 3 or emma is: in its metrics, methods that it has first and in its order "
        "(default: in the order they are given in)",
    )
    add(
        "--common",
        action="store_true",
        help="only images that all methods have (default: each on what it has)",
    )
    add("--against", metavar="NAME", help="test every method against this one, over the images both have")
    add("--intervals", action="store_true", help="print 95 %% bootstrap intervals of the means too")


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how to measure").add_argument
    add(
        "--match",
        type=matching,
        metavar="RULE",
        default="stem",
        help="which files belong together, as for sample.py: those of one stem; index: those at one place in the "
        "order of names; or patterns such as 'thermal_*=rgb_*', whose star names the results, or with a third for "
        "fused images of other names, 'thermal_*=rgb_*=fused_*' (default: stem)",
    )
    add(
        "--metrics",
        type=metric_list,
        metavar="LIST",
        help=f"all, or comma-separated (default: {','.join(METRICS)}; with --table or several methods "
        f"{','.join(PAPER_METRICS)}; with --protocol zoo its 21)",
    )
    add(
        "--labels",
        type=two_labels,
        metavar="FIRST,SECOND",
        help="what the sources in --ir and --vi are, such as PET,MRI (default: by the folders' names)",
    )
    add(
        "--protocol",
        choices=get_args(Protocol),
        default="ddfm",
        help="ddfm: as published tables were made, quirks included; standard: SSIM and PSNR of range 255, "
        "Qabf without quirks; zoo: as the toolbox of the infrared-visible survey (default: ddfm)",
    )
    add("--workers", type=positive, metavar="N", help="images at a time (default: one for each core)")
    add(
        "--max_pixels",
        type=positive,
        metavar="N",
        help="images with more pixels are not opened (default: 89,478,485, Pillow's limit)",
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("pictures and report").add_argument
    add(
        "--report",
        type=Path,
        metavar="FILE",
        help="write one self-contained HTML page with tables, every image's metrics and a slider for every pair "
        "(default: not)",
    )
    add(
        "--report_pairs",
        type=positive,
        default=24,
        metavar="N",
        help="pairs of each data set whose images are put into the page (default: 24)",
    )
    add(
        "--report_side",
        type=positive,
        default=640,
        metavar="PX",
        help="the longer side of those images is at most this (default: 640)",
    )
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="write panels of sources, results and zoomed crops, radar and box plots (default: not)",
    )
    add(
        "--panels",
        type=positive,
        default=3,
        metavar="N",
        help="pairs of each data set that get a panel (default: 3)",
    )
    add(
        "--stems",
        type=lambda text: text.split(","),
        metavar="LIST",
        help="the pairs for panels and report, comma-separated names (default: the first ones)",
    )
    add(
        "--box",
        type=box,
        metavar="X,Y,W,H",
        help="the crop to zoom into, in pixels (default: where the first source is salient and both have contrast)",
    )
