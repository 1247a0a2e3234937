"""The flags of ``evaluate.py`` that are for the tables of papers."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import get_args

from util.cli.arguments import positive
from util.evaluation.tables import Format


def table_name(text: str) -> int | str:
    """1, 2, 3 or emma. Raises ArgumentTypeError."""
    if text.lower() == "emma":
        return "emma"
    if text in ("1", "2", "3"):
        return int(text)
    raise argparse.ArgumentTypeError(f"invalid choice: {text}; there are 1, 2, 3 and emma")


def add_tables(parser: argparse.ArgumentParser, root: Path) -> None:
    """--table and what goes with it; default paths lie in ``root``."""
    add = parser.add_argument_group("the paper's tables").add_argument
    add(
        "--table",
        type=table_name,
        nargs="+",
        metavar="N",
        help="1: infrared-visible; 2: ablation; 3: medical; emma: the table of EMMA, in its metrics. Fuses the data "
        "sets (finished images are kept) and prints the table",
    )
    add("--data", type=Path, metavar="ROOT", help="folder that holds the data sets, as they are distributed")
    add("--format", choices=get_args(Format), default="text", help="of the printed table (default: text)")
    add(
        "--tables_dir",
        type=Path,
        metavar="DIR",
        help="also write the tables, or that of several methods, in every format and, with --table, every image's "
        "values as JSON (default: not)",
    )
    add("--limit", type=positive, metavar="N", help="only the first N images of each set (default: all)")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        default=root / "output/tables",
        help="folder for the fused images (default: output/tables)",
    )
    add(
        "--fusion_config",
        nargs="+",
        metavar="YAML",
        help="files, or names such as local_fast, one row each (default: configs/fusion_config.yaml; for table 2 all "
        "of configs/ablation)",
    )
    add("--model_config", metavar="YAML", help="the prior, a file or a name (default: as sample.py chooses)")
    add("--diffusion_config", metavar="YAML", help="the sampler, a file or a name (default: sample.py's)")
    add(
        "--sample_flags",
        type=shlex.split,
        default=[],
        metavar="FLAGS",
        help="more flags for sample.py in one word, such as '--batch_size 4 --precision fp16' (default: none)",
    )
    add(
        "--published",
        type=Path,
        metavar="YAML",
        default=root / "configs/published_tables.yaml",
        help="rows that others printed (default: configs/published_tables.yaml)",
    )
