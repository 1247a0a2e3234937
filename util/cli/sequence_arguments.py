"""The flags of ``sample.py`` that are for sequences."""

from __future__ import annotations

import argparse
from pathlib import Path

from util.presets import Preset
from util.sequences.frames import is_video
from util.sequences.run import SequenceRun, write_sequence


def add_sequence_arguments(parser: argparse.ArgumentParser) -> None:
    """--sequence and --video."""
    group = parser.add_argument_group("sequences")
    group.add_argument(
        "--sequence",
        action="store_true",
        help="--ir and --vi are folders with the frames of one sequence; video files always are one (default: off)",
    )
    group.add_argument(
        "--video", type=Path, metavar="FILE", help="the fused MP4 (default: video.mp4 in --save_dir)"
    )


def asks_sequence(args: argparse.Namespace) -> bool:
    """Whether the command line asks for a sequence."""
    return (
        args.sequence or args.video is not None or any(is_video(path) for path in (args.ir, args.vi) if path)
    )


def check_sequence(args: argparse.Namespace) -> None:
    """Raise ValueError for a sequence without its two sources, and for flags that are for folders of pairs."""
    if args.ir is None or args.vi is None:
        raise ValueError("a sequence needs --ir and --vi, a video or a folder of frames each")
    videos = [path for path in (args.ir, args.vi) if is_video(path)]
    if not args.sequence and not videos:
        raise ValueError("--video is for sequences: give videos, or --sequence")
    for name in ("output", "sources", "record", "contact_sheet", "out_layout", "dry_run", "samples"):
        if getattr(args, name):
            raise ValueError(f"--{name} is not for sequences: leave it out")


def run_sequence(args: argparse.Namespace, settings: Preset) -> SequenceRun:
    """As :func:`~util.sequences.run.write_sequence`."""
    return write_sequence(
        args.ir,
        args.vi,
        args.save_dir,
        settings,
        video=args.video,
        device=args.device,
        overwrite=args.overwrite,
        limit=args.limit,
        max_pixels=args.max_pixels,
    )
