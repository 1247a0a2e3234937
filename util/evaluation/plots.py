"""Pictures as in the paper: radar plots of the tables (Fig. 2) and panels with zoomed crops (Figs. 4 to 6)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from util.evaluation.folders import Result
from util.evaluation.metrics import ALL_METRICS, LOWER_IS_BETTER
from util.evaluation.tables import Block, Table, printed
from util.evaluation.views import (
    Box,
    by_dataset,
    check_box,
    choose_stems,
    contrast_box,
    fused_file,
    shown,
    side_names,
)
from util.files import write_atomically
from util.images.image_io import read_image

_INK = "#010203"  # stands for the colour of the text around an SVG, and nothing else is drawn in it
_COLOURS = ("#d1495b", "#2e86ab", "#e0a030", "#5a9e6f", "#8d6cab", "#c4713b", "#4aa5a0", "#9a8c7a")
_BOX_COLOUR = "#ff3b30"
_PANEL_COLUMNS = 6


def radar(block: Block, metrics: Sequence[str]) -> Figure | None:
    """One axis for each metric, from 0 at the centre to the best row at the rim, whose value is printed there.

    Rows that lack a metric are left out; so are metrics of which less is better. None when fewer than three
    metrics or no row remain.
    """
    axes = [name for name in metrics if name in ALL_METRICS and name not in LOWER_IS_BETTER]
    rows = [row for row in block.rows if all(printed(row.values.get(name)) != "-" for name in axes)]
    best = {name: max((row.values[name] for row in rows), default=0.0) for name in axes}
    axes = [name for name in axes if best[name] > 0]
    if len(axes) < 3 or not rows:
        return None
    angles = np.pi / 2 - np.arange(len(axes) + 1) * 2 * np.pi / len(axes)
    rim = np.stack([np.cos(angles), np.sin(angles)])
    figure = Figure(figsize=(4.4, 4.3 + 0.21 * len(rows)), layout="constrained")
    plot = figure.add_subplot()
    for level in (0.25, 0.5, 0.75, 1.0):
        plot.plot(*(rim * level), color=_INK, alpha=0.2, linewidth=0.7)
    for x, y in rim.T[:-1]:
        plot.plot([0, x], [0, y], color=_INK, alpha=0.2, linewidth=0.7)
    for name, (x, y) in zip(axes, rim.T[:-1], strict=True):
        plot.text(1.17 * x, 1.14 * y, f"{name}\n{best[name]:.2f}", ha="center", va="center", color=_INK)
    for index, row in enumerate(rows):
        shares = np.array([max(0.0, row.values[name] / best[name]) for name in axes])
        corners = rim * np.append(shares, shares[0])
        # colours that come round again are dashed
        style = ":" if row.kind == "others" else "-" if index < len(_COLOURS) else "--"
        colour = _COLOURS[index % len(_COLOURS)]
        label = _plain(f"{row.label}, as published" if row.kind == "paper" else row.label)
        plot.plot(*corners, style, color=colour, linewidth=1.8, label=label)
        if row.kind == "here" and len(rows) < len(_COLOURS):
            plot.fill(*corners, color=colour, alpha=0.12)
    plot.set(xlim=(-1.4, 1.4), ylim=(-1.3, 1.3), aspect="equal")
    plot.axis("off")
    plot.set_title(_plain(block.dataset), color=_INK)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, labelcolor=_INK, fontsize=9)
    return figure


def _plain(text: str) -> str:
    """Text that Matplotlib sets as it is: no mathematics, and no half characters of names that are no Unicode."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def radar_svg(block: Block, metrics: Sequence[str]) -> str | None:
    """The radar plot as an inline SVG on no ground, whose text has the colour of the text around it."""
    figure = radar(block, metrics)
    if figure is None:
        return None
    figure.axes[0].set_title("")  # the page has it beside
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": block.dataset}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'font: ([\d.]+px)[^;"]*', r"font: \1 sans-serif", svg)
    return svg.replace(_INK, "currentColor")


def write_radars(folder: Path, tables: Sequence[Table]) -> list[Path]:
    """``table_N_DATASET_radar.png`` for every block that has enough to show; returns the files."""
    paths = []
    for table in tables:
        for block in table.blocks:
            figure = radar(block, table.metrics)
            if figure is not None and any(row.kind == "here" for row in block.rows):
                paths.append(folder / f"table_{table.number}_{block.dataset}_radar.png")
                _write(paths[-1], figure)
    return paths


def write_panels(
    folder: Path, results: Sequence[Result], count: int, stems: Sequence[str] | None, box: Box | None
) -> list[Path]:
    """``panel_DATASET_STEM.png`` with sources, every result, and the same crop of each below; returns the files.

    ``stems``: the pairs that are meant, or None for the first ``count`` of every data set. Raises ValueError
    when none of them is there or the box does not lie in an image.
    """
    paths, of_set = [], by_dataset(results)
    for dataset, chosen in choose_stems(results, stems, count).items():
        for stem in chosen:
            paths.append(folder / f"panel_{dataset}_{stem}.png")
            _write(paths[-1], panel(of_set[dataset], stem, box))
    return paths


def panel(results: Sequence[Result], stem: str, box: Box | None = None) -> Figure:
    """One pair: sources and results side by side, the crop marked, and below each its crop enlarged."""
    triples = {result.label: triple for result in results for triple in result.triples if triple.stem == stem}
    first = next(iter(triples.values()))
    ir, vi = read_image(first.ir), read_image(first.vi)
    columns = list(zip(side_names(results[0].dataset), (shown(ir), shown(vi)), strict=True))
    columns += [(label, shown(read_image(fused_file(triple)))) for label, triple in triples.items()]
    height, width = (min(image.shape[axis] for _, image in columns) for axis in (0, 1))
    columns = [(label, image[:height, :width]) for label, image in columns]  # results may be cropped
    if box is None:
        box = contrast_box(ir.luma[:height, :width], vi.luma[:height, :width])
    x, y, w, h = check_box(box, (height, width), str(first.ir))
    bands = -(-len(columns) // _PANEL_COLUMNS)  # rows of columns, each of images and crops
    across = min(len(columns), _PANEL_COLUMNS)
    ratios = [height / width, h / w] * bands
    inches = 3.0
    figure = Figure(figsize=(inches * across, inches * sum(ratios) + 0.5 * bands), layout="constrained")
    grid = figure.subplots(2 * bands, across, squeeze=False, height_ratios=ratios)
    for axes in grid.flat:
        axes.set_visible(False)
    for index, (label, image) in enumerate(columns):
        band, column = divmod(index, across)
        whole, crop = grid[2 * band, column], grid[2 * band + 1, column]
        whole.imshow(image, interpolation="lanczos")
        whole.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=_BOX_COLOUR, linewidth=1.5))
        whole.set_title(_plain(label), fontsize=9)
        whole.axis("off")
        crop.imshow(image[y : y + h, x : x + w], interpolation="nearest")
        for spine in crop.spines.values():
            spine.set(color=_BOX_COLOUR, linewidth=1.5)
        crop.set(xticks=[], yticks=[])
        for axes in (whole, crop):
            axes.set_visible(True)
    return figure


def _write(path: Path, figure: Figure) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, facecolor="white", metadata={"Software": "DDFM"})
    write_atomically(path, stream.getvalue())
