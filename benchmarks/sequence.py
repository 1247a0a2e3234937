"""Measures how many frames a second a sequence is fused at, end to end: decoding, fusing, frames and MP4 written.

    python -m benchmarks.sequence --frames 60

Two videos of 640x480 are made of a sample pair over which the view pans, and fused by ``local_fast``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from util.cli.arguments import positive
from util.files import project_root
from util.presets import preset
from util.sequences.run import write_sequence
from util.sequences.video import VideoWriter

SIZE = 640, 480


def make_videos(folder: Path, frames: int) -> tuple[Path, Path]:
    """An infrared and a visible video."""
    paths = folder / "ir.mp4", folder / "vi.mp4"
    for path, side in zip(paths, ("ir", "vi"), strict=True):
        with Image.open(project_root() / "input" / side / "daylight.png") as image:
            large = np.asarray(
                image.convert("RGB").resize((SIZE[0] + 60, SIZE[1] + 20), Image.Resampling.BICUBIC)
            )
        with VideoWriter(path, 25) as writer:
            for number in range(frames):
                writer.add(np.ascontiguousarray(large[10:, number % 60 :][: SIZE[1], : SIZE[0]]))
    return paths


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.sequence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=positive, default=60, metavar="N", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ir, vi = make_videos(folder, args.frames)
        settings = preset("local_fast")
        write_sequence(ir, vi, folder / "warm", settings, limit=4)
        before = time.process_time()
        run = write_sequence(ir, vi, folder / "out", settings)
        print(f"{run.summary()}; {(time.process_time() - before) / run.made:.3f} s of processor time a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
