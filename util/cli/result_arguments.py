"""The flags of ``sample.py`` that say what is written beside the fused images."""

from __future__ import annotations

import argparse

from util.run.out_layout import OUT_SIDES
from util.run.recording import RECORD_FORMS


def add_results(group: argparse._ArgumentGroup) -> None:
    """Add them to a group of flags."""
    add = group.add_argument
    add(
        "--record",
        nargs="?",
        choices=RECORD_FORMS,
        const="png",
        default=False,
        help="also save the state after every step in progress/: png, as published, a file each, x_0000 being the "
        "last, which --record alone means too; webp or gif: one animation in the order of time, grey and in colour "
        "(default: off)",
    )
    add(
        "--out_layout",
        nargs="?",
        choices=OUT_SIDES,
        const="vi",
        help="also write results to dataset/ in the folders, names, formats and sizes of the visible images (vi, "
        "which --out_layout alone means too) or of the infrared ones (ir), with links to labels (default: off)",
    )
    add(
        "--contact_sheet",
        action="store_true",
        help="also write contact_sheet.png, a page with all results and their sources (default: off)",
    )
