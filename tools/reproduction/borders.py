"""Algorithm 1 at the borders of regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guided_diffusion.em_paper import Paper
from guided_diffusion.em_released import Released
from guided_diffusion.rectification import Rectification
from tools.reproduction.alone import AsPrinted, Levels, Values, em_alone, read_levels
from util.evaluation.folders import Scores, Triple, mean_of
from util.markdown import markdown_rows

START_NOISE = 10.0  # grey levels, of the start that stands in for the estimate of a prior


def borders(triples: Sequence[Triple]) -> str:
    """Where pixels end up, and edges that no source has, for the forms of the EM iteration without a prior."""
    forms: dict[str, Rectification[Any]] = {
        "as printed: Eq. (16) upside down, no cap": AsPrinted(cap=None),
        "put right, no cap": Paper(cap=None),
        "put right, cap 2 (`paper`)": Paper(),
        "`released`": Released(),
    }
    names = ("at infrared, %", "at visible, %", "near the middle, %", "new edges", "last change, levels")
    rows = [["form", "start", *names]]
    for label, rectification in forms.items():
        for start, noise in (("mean", 0.0), (f"mean and noise of {START_NOISE:g} levels", START_NOISE)):
            lines = []
            for triple in triples:
                _, ir, vi = read_levels(triple)
                *_, before, luma = em_alone(rectification, ir, vi, noise)
                lines.append(_places(luma, before, ir, vi))
            rows.append([label, start, *(f"{mean_of(lines)[name]:.2f}" for name in names)])
    return f"{markdown_rows(*rows)}\n\nMeans over {len(triples)} pairs."


def _places(luma: Values, before: Values, ir: Levels, vi: Levels) -> Scores:
    """Shares of the pixels at a source or in the middle, where the sources differ by 20 levels or more.

    ``new edges``: mean gradient where both sources vary by less than 2 levels from pixel to pixel, over that of
    the mean of both sources there.
    """
    fused, a, b = (luma + 1) * 127.5, ir.astype(np.float64), vi.astype(np.float64)
    apart = np.abs(a - b) >= 20
    place = (fused[apart] - b[apart]) / (a[apart] - b[apart])  # 0 at visible, 1 at infrared
    slopes = [np.abs(np.diff(image, axis=1)) for image in (fused, a, b, (a + b) / 2)]
    flat = (slopes[1] < 2) & (slopes[2] < 2)
    return {
        "at infrared, %": 100 * float((place > 0.9).mean()),
        "at visible, %": 100 * float((place < 0.1).mean()),
        "near the middle, %": 100 * float((np.abs(place - 0.5) < 0.1).mean()),
        "new edges": float(slopes[0][flat].mean() / max(slopes[3][flat].mean(), 1e-6)),
        "last change, levels": float(np.sqrt(((luma - before) ** 2).mean())) * 127.5,
    }
