"""Seconds of all twelve metrics on one triple, on one core: ``python -m benchmarks.metrics``."""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time

import numpy as np
from scipy.ndimage import gaussian_filter

from util.allocator import keep_freed_memory
from util.evaluation.metrics import METRICS, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=300, help="(default %(default)s)")
    parser.add_argument("--width", type=int, default=500, help="(default %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs (default %(default)s)")
    args = parser.parse_args()
    keep_freed_memory()
    rng = np.random.default_rng(0)
    images = []
    for _ in range(3):
        image = gaussian_filter(rng.standard_normal((args.height, args.width)), 2)
        images.append(np.uint8(255 * (image - image.min()) / np.ptp(image)))
    for names in (METRICS, *([name] for name in METRICS)):
        seconds = []
        for _ in range(args.repeats + 1):
            started = time.perf_counter()
            evaluate(images[0], images[1], images[2], names)
            seconds.append(time.perf_counter() - started)
        label = "all" if len(names) > 1 else names[0]
        print(f"{label:5} {statistics.median(seconds[1:]):.4f} s")


if __name__ == "__main__":
    main()
