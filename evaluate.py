"""Metrics of fused images, and the paper's tables: ``python evaluate.py``. See ``--help`` and README.md."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from util.cli.evaluate_arguments import evaluate_parser
from util.cli.evaluate_methods import compare_methods, measure_folder, tell
from util.configs import find_config
from util.evaluation.folders import Result
from util.evaluation.measuring import available_workers
from util.evaluation.metrics import METRICS, PAPER_METRICS, ZOO_METRICS
from util.evaluation.published import published_tables
from util.evaluation.tables import Format, Table, render
from util.files import project_root, write_atomically
from util.images.image_io import pixel_limit
from util.logger import get_logger
from util.process import print_any_name, stop_on_signals

if TYPE_CHECKING:
    from util.run.settings import FolderSettings

ROOT = project_root()
SUFFIXES: dict[Format, str] = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv"}

log = logging.getLogger("ddfm")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line, checked for what argparse cannot see."""
    parser = evaluate_parser(ROOT)
    args = parser.parse_args(argv)
    several = bool(args.method or args.methods)
    for side in ("ir", "vi") if args.methods else ():
        if getattr(args, side) is None and (args.methods / side).is_dir():
            setattr(args, side, args.methods / side)
    wanted = ("ir", "vi") if several else ("fused", "ir", "vi")
    folders = [name for name in wanted if getattr(args, name) is None]
    if args.table:
        if len(folders) < 3 or args.json or args.csv:
            parser.error(
                "--table goes without --fused, --method, --methods, --ir, --vi, --json and --csv (--tables_dir "
                "writes files)"
            )
        if args.match != "stem":
            parser.error("--match does not go with --table, whose data sets have names of their own")
        if args.data is None:
            parser.error("--table needs --data ROOT, the folder that holds the data sets")
    elif folders:
        parser.error(
            f"--{folders[0]} is missing: give --ir and --vi with --fused, --method or --methods, or --table"
        )
    if several and args.fused:
        parser.error("--fused is for one folder alone: give it as --method NAME=DIR beside the others")
    if not several and (args.common or args.against or args.intervals or args.table_like):
        parser.error(
            "--common, --against, --intervals and --table_like are for several methods: --method or --methods"
        )
    if args.table_like and args.metrics:
        parser.error("--table_like chooses the metrics: leave --metrics out")
    if not (args.metrics or args.table):
        usual = list(ZOO_METRICS if args.protocol == "zoo" else METRICS)
        args.metrics = PAPER_METRICS if several and args.protocol != "zoo" else usual
    args.workers = args.workers or available_workers()
    return args


def folder_settings(args: argparse.Namespace) -> Callable[[Path], FolderSettings]:
    """How ``sample.py`` would fuse with a fusion configuration and ``--sample_flags``, by the configuration's file.

    Raises ValueError for flags that say what the table says.
    """
    from sample import settings_of  # here, for it brings torch, which evaluating does without
    from util.cli.sample_arguments import sample_parser

    parser = sample_parser(ROOT)
    given, usual = parser.parse_args(args.sample_flags), parser.parse_args([])
    for name in ("input", "ir", "vi", "save_dir", "fusion_config", "dry_run"):
        if getattr(given, name) != getattr(usual, name):
            raise ValueError(f"--sample_flags: --{name} does not go with --table, which chooses it itself")
    get_logger(given.quiet)
    asked = {
        name: getattr(given, name) or getattr(args, name)
        for name in ("model_config", "diffusion_config", "max_pixels")
    }

    def configure(fusion_config: Path) -> FolderSettings:
        return settings_of(argparse.Namespace(**{**vars(given), **asked, "fusion_config": fusion_config}))

    return configure


def fusion_configs(args: argparse.Namespace, number: int | str) -> Sequence[Path]:
    """The rows of that table. Raises ValueError for one that is not there, and when two would share a folder."""
    if args.fusion_config is None:
        return (
            sorted((ROOT / "configs/ablation").glob("*.yaml"))
            if number == 2
            else [ROOT / "configs/fusion_config.yaml"]
        )
    files = [find_config("fusion", wanted, ROOT) for wanted in args.fusion_config]
    if len({path.stem for path in files}) < len(files):
        raise ValueError("two files of --fusion_config have the same name, which names row and folder")
    return files


def make_tables(args: argparse.Namespace) -> tuple[list[Table], list[Result], int]:
    """All tables asked for, what they are made of, and the exit status. Raises ValueError."""
    from util.evaluation.table_runs import Settings, TableRuns  # here, for it brings torch

    numbers = list(dict.fromkeys(args.table))
    published = published_tables(args.published, numbers)
    configure = folder_settings(args)
    shown = {table.number: args.metrics or table.shown for table in published}
    settings = Settings(
        args.data,
        args.out,
        list(dict.fromkeys(metric for metrics in shown.values() for metric in metrics)),
        args.protocol,
        args.limit,
        args.workers,
    )
    runs = TableRuns(settings, configure)
    tables, unsaid = [], False
    for table in published:
        tables.append(runs.table(table, fusion_configs(args, table.number), shown[table.number]))
        unsaid |= tell(render(tables[-1], args.format))
    if args.tables_dir:
        for (dataset, config), result in runs.results.items():
            if result:
                path = args.tables_dir / f"{dataset}_{config.stem}.json"
                write_atomically(path, result.evaluation.to_json().encode())
    return tables, runs.finished, max(runs.exit_status, int(unsaid))


def write_tables(args: argparse.Namespace, tables: list[Table]) -> None:
    """In every format, if they are asked for. Raises OSError."""
    for table in tables if args.tables_dir else ():
        name = "methods" if table.number is None else f"table_{table.number}"
        for form in get_args(Format):
            write_atomically(args.tables_dir / f"{name}.{SUFFIXES[form]}", render(table, form).encode())


def write_pictures(args: argparse.Namespace, tables: list[Table], results: list[Result]) -> None:
    """Panels, radar plots and the report, as far as they are asked for. Raises ValueError or OSError."""
    if args.pictures:
        from util.evaluation.plots import (  # here, for matplotlib is slow
            write_boxes,
            write_panels,
            write_radars,
        )

        paths = write_panels(args.pictures, results, args.panels, args.stems, args.box)
        for path in paths + write_radars(args.pictures, tables) + write_boxes(args.pictures, results):
            log.info(f"wrote {path}")
    if args.report:
        from util.evaluation.report.page import write_report

        write_report(args.report, tables, results, args.report_pairs, args.report_side, args.stems)
        log.info(f"wrote {args.report}, {args.report.stat().st_size / 1e6:.1f} MB")


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    get_logger()
    stop_on_signals()
    print_any_name()
    status = 2
    try:
        with pixel_limit(args.max_pixels):
            if args.table:
                tables, results, status = make_tables(args)
            elif args.method or args.methods:
                tables, results, status = compare_methods(args)
            else:
                tables, (results, status) = [], measure_folder(args)
            write_tables(args, tables)
            if results:
                write_pictures(args, tables, results)
            else:
                log.error("nothing could be evaluated")
        return status
    except ValueError as error:
        log.error(error)
        return max(status, 1)
    except OSError as error:
        log.error(f"a report cannot be written: {error}")
        return 1
    except KeyboardInterrupt:
        log.error("interrupted: run the same command again to do the rest")
        return 130


if __name__ == "__main__":
    sys.exit(main())
