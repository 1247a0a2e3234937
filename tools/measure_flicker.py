"""How much the static parts of a fused sequence change from frame to frame, and those of its sources, as Markdown.

    python -m tools.measure_flicker --fused output/frames --ir ir --vi vi

Static is what hardly changes in either source once both are blurred by 2 pixels: noise does not count as motion, what
moves does. In these pixels the mean absolute change of the luma between neighbouring frames is measured, in grey
levels; of the mean over all static pixels (whether the whole frame pumps) and of each pixel. Sequences that drift are
compared with their sources over the same pixels. ``contrast``: that change over the standard deviation of the frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from tools import resumable
from util.images.image_io import grey_from_rgb
from util.markdown import markdown_rows
from util.sequences.frames import SequenceError, open_frames
from util.sequences.pairing import paired

STILL = 3.0  # grey levels of change of the blurred sources up to which a pixel is static
HEADS = ("", "change of a static pixel", "over the contrast", "change of their mean")


def lumas(path: Path, like: Path | None = None) -> Iterator[np.ndarray]:
    """(H, W) float of every frame; of those paired with ``like``."""
    frames = open_frames(path, path.name)
    if like is None:
        for frame in frames:
            yield grey_from_rgb(frame.rgb).astype(np.float64)
        return
    for frame, _ in paired(frames, open_frames(like, like.name)):
        yield grey_from_rgb(frame.rgb).astype(np.float64)


def measure(fused: Path, ir: Path, vi: Path) -> tuple[dict[str, list[float]], float, int]:
    """Of each sequence the three numbers of :data:`HEADS`; the static share of the pixels; the steps between frames.

    Raises SequenceError when the sequences do not fit, or have no two frames or no static pixel.
    """
    before: list[np.ndarray] = []
    sums, still, steps = np.zeros((3, 3)), 0.0, 0
    streams = [lumas(fused), lumas(ir, vi), lumas(vi)]
    for images in zip(*streams, strict=False):
        now = list(images)
        if len({image.shape for image in now}) != 1:
            raise SequenceError(f"the frames differ in size: {', '.join(str(image.shape) for image in now)}")
        if before:
            moved = [
                np.abs(ndimage.gaussian_filter(a - b, 2.0)) for a, b in zip(now[1:], before[1:], strict=True)
            ]
            static = np.max(moved, axis=0) <= STILL
            still, steps = still + static.mean(), steps + 1
            if static.any():
                for row, (a, b) in enumerate(zip(now, before, strict=True)):
                    change = float(np.abs(a - b)[static].mean())
                    sums[row] += [change, change / max(a.std(), 1e-9), abs((a - b)[static].mean())]
        before = now
    if not steps or not still:
        raise SequenceError(f"{fused}: needs two frames, and pixels that are static in both sources")
    names = ("fused", "infrared", "visible")
    return {name: list(row / steps) for name, row in zip(names, sums, strict=True)}, still / steps, steps


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.measure_flicker",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, what in (("fused", "the result"), ("ir", "its infrared source"), ("vi", "its visible source")):
        text = f"{what}: a video or a folder of frames"
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", required=True, help=text)
    args = parser.parse_args(argv)

    def show() -> None:
        found, still, steps = measure(args.fused, args.ir, args.vi)
        print(
            markdown_rows(HEADS, *([name, *(f"{value:.3f}" for value in row)] for name, row in found.items()))
        )
        print(f"\nStatic: {still:.0%} of the pixels, {steps} steps.")

    return resumable.run(show)


if __name__ == "__main__":
    sys.exit(main())
