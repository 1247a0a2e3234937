"""What has come of a scene, and the files in which a visitor takes it home."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from util.evaluation.metrics import PAPER_METRICS, evaluate
from util.images.png import write_png
from util.images.uncertainty import write_uncertainty
from util.page.pictures import Picture

LEAST = ("MI_min", "VIF_min", "CC_min", "SSIM_min")
"""Metrics that only a result can have which holds something of each source."""

MEASURED = (*PAPER_METRICS, *LEAST)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A fused scene. ``grey``: (H, W) uint8; ``colour``: (H, W, 3) uint8, None where all sources are grey.

    ``scores``: of :data:`MEASURED`, empty where they cannot be, with ``unmeasured`` saying why. ``medical``: whether
    the scene is. ``provenance``: what made it. ``seconds``: of the fusion alone. ``deviation``: of several samples at
    each pixel, (H, W) in grey levels, None of a single one.
    """

    sources: Sequence[Picture]
    grey: np.ndarray
    colour: np.ndarray | None
    medical: bool
    provenance: dict[str, Any]
    seconds: float
    scores: dict[str, float]
    unmeasured: str = ""
    deviation: np.ndarray | None = None

    @property
    def best(self) -> np.ndarray:
        """In colour where there is some."""
        return self.grey if self.colour is None else self.colour


def measure(grey: np.ndarray, sources: Sequence[Picture]) -> tuple[dict[str, float], str]:
    """The scores of a fused image, or why there are none."""
    if len(sources) != 2:
        return {}, f"The metrics are defined for two images, and there are {len(sources)}."
    try:
        return evaluate(grey, sources[0].luma, sources[1].luma, MEASURED), ""
    except ValueError as error:
        return {}, f"Not measured: {error}."


def write_files(outcome: Outcome, folder: Path) -> tuple[Path, Path]:
    """Write the result as ``fused.png``, and all there is as ``fusion.zip``; returns both. Raises OSError.

    Every PNG carries the provenance as text, as those of ``sample.py`` do.
    """
    text = {
        "Software": f"DDFM {outcome.provenance['versions']['ddfm']}",
        "ddfm": json.dumps(outcome.provenance),
    }
    images = {"fused_grey.png": outcome.grey}
    if outcome.colour is not None:
        images["fused_colour.png"] = outcome.colour
    for name, image in {"fused.png": outcome.best, **images}.items():
        write_png(folder / name, image, text)
    if outcome.deviation is not None:
        write_uncertainty(folder / "uncertainty.png", outcome.deviation, text)
        images["uncertainty.png"] = outcome.deviation
    sources = {f"source_{number}.png": source.pixels for number, source in enumerate(outcome.sources, 1)}
    for name, image in sources.items():
        write_png(folder / name, image)
    archive = folder / "fusion.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:  # PNG does not shrink
        for name in (*images, *sources):
            packed.write(folder / name, name)
        packed.writestr("provenance.json", json.dumps(outcome.provenance, indent=2) + "\n")
        if outcome.scores:
            packed.writestr("metrics.csv", _csv(outcome.scores))
    for name in (*images, *sources):
        (folder / name).unlink()
    return folder / "fused.png", archive


def _csv(scores: dict[str, float]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(scores)
    writer.writerow(scores.values())
    return buffer.getvalue()
