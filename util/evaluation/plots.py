"""Pictures as in the paper: radar plots of the tables (Fig. 2) and panels with zoomed crops (Figs. 4 to 6)."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from util.evaluation.folders import Result
from util.evaluation.metrics import ALL_METRICS, LOWER_IS_BETTER
from util.evaluation.tables import Block, Table, heading, printed
from util.evaluation.views import (
    Box,
    by_dataset,
    check_box,
    choose_stems,
    fused_file,
    salient_box,
    shown,
    source_labels,
)
from util.files import write_atomically
from util.images.image_io import read_image

_INK = "#010203"  # stands for the colour of the text around an SVG, and nothing else is drawn in it
# Okabe and Ito's colours, which the colour-blind tell apart; grey in place of black, which is the text's, and of
# yellow, which is hardly seen on white
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
FORMATS = ("png", "svg", "pdf")
_BOX_COLOUR = "#ff3b30"
_PANEL_COLUMNS = 6


def style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the method at that place, the same in every figure; they first repeat after 308."""
    dash = _DASHES[(index // len(_COLOURS) + index % len(_COLOURS)) % len(_DASHES)]
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    return {"color": colour, "linestyle": dash, "marker": marker}


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
        plot.text(1.25 * x, 1.16 * y, f"{name}\n{best[name]:.2f}", ha="center", va="center", color=_INK)
    for index, row in enumerate(rows):
        shares = np.array([max(0.0, row.values[name] / best[name]) for name in axes])
        corners = rim * np.append(shares, shares[0])
        label = _plain(f"{row.label}, as published" if row.kind == "paper" else row.name)
        look = style(index)
        plot.plot(*corners, **look, linewidth=1.6, markersize=4, label=label)
        if row.kind == "here" and len(rows) <= 3:
            plot.fill(*corners, color=look["color"], alpha=0.12)
    plot.set(xlim=(-1.5, 1.5), ylim=(-1.3, 1.3), aspect="equal")
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
    """``table_N_DATASET_radar`` for every block with rows made here that has enough to show; returns the files."""
    paths = []
    for table in tables:
        for block in table.blocks:
            figure = radar(block, table.metrics)
            if figure is not None and any(row.kind == "here" for row in block.rows):
                name = "methods" if table.number is None else f"table_{table.number}"
                paths += _write(folder, f"{name}_{block.dataset}_radar", figure, FORMATS)
    return paths


def write_boxes(folder: Path, results: Sequence[Result]) -> list[Path]:
    """``boxes_DATASET`` with a box plot of every metric, for data sets of several methods; returns the files."""
    paths = []
    for dataset, of_set in by_dataset(results).items():
        if len(of_set) > 1:
            paths += _write(folder, f"boxes_{dataset}", boxes(of_set), FORMATS)
    return paths


def boxes(results: Sequence[Result]) -> Figure:
    """The values of every image: for each metric a box a method from quartile to quartile, its median, whiskers to
    1.5 quartile distances, and a triangle at the mean; images that are not finite are left out."""
    metrics = list(results[0].evaluation.metrics)
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    height = 0.9 + 0.28 * len(results)
    figure = Figure(figsize=(3.6 * columns + 1.2, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    names = [_plain(_short(result.label, 40)) for result in results]
    for index, axes in enumerate(grid.flat):
        if index >= len(metrics):
            axes.set_visible(False)
            continue
        metric = metrics[index]
        values = [
            [scores[metric] for scores in result.evaluation.images.values() if np.isfinite(scores[metric])]
            for result in results
        ]
        drawn = axes.boxplot(
            values, orientation="horizontal", widths=0.6, patch_artist=True, showmeans=True,
            medianprops={"color": "black"}, flierprops={"markersize": 3},
            meanprops={"markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4},
        )  # fmt: skip
        for place, patch in enumerate(drawn["boxes"]):
            look = style(place)
            patch.set(facecolor=look["color"], alpha=0.75, linestyle=look["linestyle"])
        axes.set_yticks(range(1, len(names) + 1), names)
        axes.invert_yaxis() if index == 0 else None
        axes.set_title(heading(metric), fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    return figure


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
            paths += _write(folder, f"panel_{dataset}_{stem}", panel(of_set[dataset], stem, box), ("png",))
    return paths


def panel(results: Sequence[Result], stem: str, box: Box | None = None) -> Figure:
    """One pair: sources and results side by side, the crop marked, and below each its crop enlarged."""
    triples = {result.label: triple for result in results for triple in result.triples if triple.stem == stem}
    first = next(iter(triples.values()))
    ir, vi = read_image(first.ir), read_image(first.vi)
    columns = list(zip(source_labels(results[0]), (shown(ir), shown(vi)), strict=True))
    columns += [(label, shown(read_image(fused_file(triple)))) for label, triple in triples.items()]
    height, width = (min(image.shape[axis] for _, image in columns) for axis in (0, 1))
    columns = [(label, image[:height, :width]) for label, image in columns]  # results may be cropped
    if box is None:
        box = salient_box(ir.luma[:height, :width], vi.luma[:height, :width])
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


def _short(name: str, length: int = 100) -> str:
    """The name or, where it is longer, its beginning and eight digits that tell it from others."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    if len(plain.encode()) <= length:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return plain.encode()[: length - 9].decode(errors="ignore") + "-" + digest


def _write(folder: Path, name: str, figure: Figure, formats: Sequence[str]) -> list[Path]:
    """The figure in every format, the same bytes every time; text stays text in SVG, and fonts are in the PDF."""
    stem = _short(re.sub(r"[/\\\0]", "_", name))
    paths = []
    for form in formats:
        stream = io.BytesIO()
        metadata = {
            "png": {"Software": "DDFM"},
            "svg": {"Date": None, "Title": stem},
            "pdf": {"CreationDate": None},
        }
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem, "pdf.fonttype": 42}):
            figure.savefig(stream, format=form, dpi=150, facecolor="white", metadata=metadata[form])
        paths.append(folder / f"{stem}.{form}")
        write_atomically(paths[-1], stream.getvalue())
    return paths
