"""All results of a run at a glance: a row for each pair with its sources, on pages of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from util.images.image_io import ImageError, ValueRange, read_image
from util.images.pairs import PairFiles
from util.images.png import write_png
from util.images.sheet import caption, row, stack
from util.logger import shown
from util.run.record import RunRecord

HEIGHT = 160  # pixels of a row
PAGE = 100  # rows

log = logging.getLogger("ddfm")


def results_of(folder: Path, stem: str, both: bool) -> list[Path]:
    """What to show of a pair in a run's folder: grey and colour, or the one in colour if any; nothing: no result."""
    grey, colour = (folder / kind / f"{stem}.png" for kind in ("recon", "color"))
    if not grey.exists():
        return []
    if not colour.exists():
        return [grey]
    return [grey, colour] if both else [colour]


def write_contact_sheet(
    folder: Path,
    record: RunRecord,
    pairs: Sequence[PairFiles],
    ranges: Sequence[ValueRange | None],
    max_pixels: int | None = None,
) -> list[Path]:
    """Write ``contact_sheet.png`` to ``folder``, and where one page does not suffice ``contact_sheet_2.png`` and on.

    A row for each pair of ``record`` that is fused, by name: its sources, the grey result and, if any, the one in
    colour, under its name. ``ranges``, ``max_pixels``: with which the sources were read. Returns the pages, none
    where nothing is fused; pages of an earlier run are removed. Raises OSError when they cannot be written.
    """
    for old in folder.glob("contact_sheet*.png"):
        old.unlink()
    files = {pair.stem: pair for pair in pairs}
    stems = sorted(pair.stem for pair in record.pairs if pair.status in ("done", "skipped"))
    pages: list[Path] = []
    for number, start in enumerate(range(0, len(stems), PAGE), 1):
        rows = [
            line
            for stem in stems[start : start + PAGE]
            for line in _lines(folder, files, stem, ranges, max_pixels)
        ]
        if rows:
            pages.append(folder / f"contact_sheet{f'_{number}' * (number > 1)}.png")
            write_png(pages[-1], stack(rows))
    return pages


def _lines(
    folder: Path,
    files: Mapping[str, PairFiles],
    stem: str,
    ranges: Sequence[ValueRange | None],
    max_pixels: int | None,
) -> list[np.ndarray]:
    """The name of a pair, and its images; nothing where one of them has gone meanwhile."""
    try:
        results = [read_image(path, None, max_pixels) for path in results_of(folder, stem, both=True)]
        pair = files[stem]
        sources = [
            read_image(path, value_range, max_pixels)
            for path, value_range in zip(pair.paths, ranges, strict=True)
        ]
    except ImageError as error:
        log.warning(f"contact sheet: {error}")
        return []
    height, width = results[0].size
    pictures = [
        np.repeat(image.luma[:, :, None], 3, axis=2) if image.rgb is None else image.rgb
        for image in (*sources, *results)
    ]
    line = row([picture[:height, :width] for picture in pictures], HEIGHT)
    return [caption(shown(stem), line.shape[1]), line]
