"""The report: one HTML page that holds everything, to be opened anywhere and sent as it is."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from util.evaluation.folders import Result, Scores
from util.evaluation.plots import radar_svg
from util.evaluation.tables import KINDS, LOWER_IS_BETTER, Block, Table, cells, printed
from util.evaluation.views import by_dataset, choose_stems, fused_file, shown, side_names
from util.files import write_atomically
from util.images.image_io import encode_preview, read_image

TEMPLATE = Path(__file__).with_name("report_template.html")
_NAME = ' class="name"'


def write_report(
    path: Path,
    tables: Sequence[Table],
    results: Sequence[Result],
    pairs: int,
    max_side: int,
    stems: Sequence[str] | None = None,
) -> None:
    """Write the page: tables with radar plots, every image's metrics, and a slider for every pair shown.

    ``pairs``: how many pairs of each data set are shown, unless ``stems`` name them; their images are scaled
    down to ``max_side`` pixels. Raises ValueError for unknown stems, OSError when the file cannot be written.
    """
    chosen = choose_stems(results, stems, pairs)
    sections = [_table_section(table) for table in tables] or [_summary_section(results)]
    links = [(f"table-{table.number}", f"Table {table.number}") for table in tables] or [
        ("summary", "Summary")
    ]
    for name, of_set in by_dataset(results).items():
        sections.append(_dataset_section(name, of_set, chosen[name], max_side))
        links.append((_slug(name), name))
    parts = {
        "NAV": "\n".join(f'<a href="#{target}">{_text(label)}</a>' for target, label in links),
        "META": _meta(results),
        "BODY": "\n".join(sections),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    page = re.sub("{{([A-Z]+)}}", lambda match: parts[match.group(1)], page)
    write_atomically(path, page.encode())


def _meta(results: Sequence[Result]) -> str:
    sets = len(by_dataset(results))
    images = sum(len(result.evaluation.images) for result in results)
    return (
        f"{images} fused image{'s' * (images != 1)} of {sets} data set{'s' * (sets != 1)}, "
        f"protocol {results[0].evaluation.protocol}"
    )


def _text(text: str) -> str:
    return html.escape(text)


def _slug(name: str) -> str:
    return "set-" + re.sub("[^A-Za-z0-9]+", "-", name)


def _cells(tag: str, values: Iterable[str]) -> str:
    return "".join(f"<{tag}>{value}</{tag}>" for value in values)


def _table_section(table: Table) -> str:
    notes = "".join(f"<li>{_text(note)}</li>" for note in table.notes)
    blocks = "\n".join(_block(block, table.metrics) for block in table.blocks)
    return (
        f'<section id="table-{table.number}">\n<h2>{_text(table.caption)}</h2>\n{blocks}\n'
        "<p><b>Bold</b>: best, <u>underlined</u>: second best of the published rows and those made here (rows "
        f"of others are not ranked); ?: number of images not known.</p>\n<ul class='notes'>{notes}</ul>\n</section>"
    )


def _block(block: Block, metrics: list[str]) -> str:
    """The rows of one data set and, beside them, their radar plot."""
    lines, before = [], None
    marked = cells(block, metrics, lambda value, rank: f"<b>{value}</b>" if rank == 1 else f"<u>{value}</u>")
    for row, (label, *values) in zip(block.rows, marked, strict=True):
        if row.kind != before:
            lines.append(f'<tr class="kind"><th colspan="{2 + len(metrics)}">{KINDS[row.kind]}</th></tr>')
            before = row.kind
        lines.append(f'<tr class="{row.kind}"><th scope="row">{_text(label)}</th>{_cells("td", values)}</tr>')
    head = f"<tr>{_cells('th', [_text(block.dataset), 'images', *metrics])}</tr>"
    table = f"<div class='scroll'><table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table></div>"
    plot = radar_svg(block, metrics)
    figure = f'<figure class="radar" aria-label="radar plot of the table">{plot}</figure>' if plot else ""
    return f'<div class="block">{table}{figure}</div>'


def _summary_section(results: Sequence[Result]) -> str:
    """Mean and standard deviation, where there is no table of the paper."""
    metrics = results[0].evaluation.metrics
    rows = ""
    for result in results:
        statistics = [result.evaluation.statistic(name) for name in metrics]
        values = [f"{printed(mean)} <small>± {printed(std)}</small>" for mean, std in statistics]
        label = f"{result.dataset}, {result.label}"
        count = str(len(result.evaluation.images))
        rows += f'<tr><th scope="row">{_text(label)}</th>{_cells("td", [count, *values])}</tr>'
    head = f"<tr>{_cells('th', ['', 'images', *metrics])}</tr>"
    return (
        '<section id="summary">\n<h2>Mean and standard deviation</h2>\n<div class="scroll"><table>'
        f"<thead>{head}</thead><tbody>{rows}</tbody></table></div>\n</section>"
    )


def _dataset_section(name: str, results: Sequence[Result], stems: Sequence[str], max_side: int) -> str:
    choices = ""
    if len(results) > 1:
        radios = "".join(
            f'<label><input type="radio" name="{_slug(name)}-method" value="{index}"{" checked" * (index == 0)}>'
            f"{_text(result.label)}</label>"
            for index, result in enumerate(results)
        )
        choices = f'<fieldset class="methods"><legend>fused by</legend>{radios}</fieldset>'
    cards = "\n".join(_card(name, results, stem, max_side) for stem in stems)
    count = len(results[0].evaluation.images)
    note = f"<p>{len(stems)} of {count} pairs are shown.</p>" if len(stems) < count else ""
    return (
        f'<section id="{_slug(name)}" class="dataset">\n<h2>{_text(name)}</h2>\n'
        f"{_image_table(name, results, set(stems))}\n{choices}{note}\n"
        f'<div class="cards">{cards}</div>\n</section>'
    )


def _image_table(name: str, results: Sequence[Result], shown_stems: set[str]) -> str:
    """Every image's metrics; the headings sort."""
    metrics = results[0].evaluation.metrics
    several = len(results) > 1
    heads = ["image", *(["fused by"] if several else []), *metrics]
    head = "".join(
        f'<th aria-sort="none"{_NAME if text == "fused by" else ""}><button type="button" '
        f'title="sort{"; lower is better" * (text in LOWER_IS_BETTER)}">{_text(text)}</button></th>'
        for text in heads
    )
    rows = "".join(
        _image_row(name, stem, result.label if several else None, scores, stem in shown_stems)
        for result in results
        for stem, scores in result.evaluation.images.items()
    )
    return (
        f'<div class="scroll tall"><table class="sortable"><caption>every image of {_text(name)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _image_row(name: str, stem: str, label: str | None, scores: Scores, linked: bool) -> str:
    image = f'<a href="#{_card_id(name, stem)}">{_text(stem)}</a>' if linked else _text(stem)
    first = f'<th scope="row" data-value="{_text(stem)}">{image}</th>'
    method = "" if label is None else f'<td{_NAME} data-value="{_text(label)}">{_text(label)}</td>'
    values = "".join(
        f'<td data-value="{value if math.isfinite(value) else ""}">{printed(value)}</td>'
        for value in scores.values()
    )
    return f"<tr>{first}{method}{values}</tr>"


def _card_id(name: str, stem: str) -> str:
    return f"{_slug(name)}-{re.sub('[^A-Za-z0-9]', lambda match: f'-{ord(match.group()):x}-', stem)}"


def _card(name: str, results: Sequence[Result], stem: str, max_side: int) -> str:
    """One pair: three images upon each other, of which two sliders show a strip each."""
    triples = {
        index: triple
        for index, result in enumerate(results)
        for triple in result.triples
        if triple.stem == stem
    }
    first = next(iter(triples))
    fused = {index: shown(read_image(fused_file(triple))) for index, triple in triples.items()}
    sources = [shown(read_image(path)) for path in (triples[first].ir, triples[first].vi)]
    height, width = (min(image.shape[axis] for image in (*fused.values(), *sources)) for axis in (0, 1))

    def picture(side: str, image: np.ndarray, label: str, more: str = "") -> str:
        content, (w, h) = encode_preview(image[:height, :width], max_side)
        data = base64.b64encode(content).decode()
        return (
            f'<img class="{side}"{more} alt="{_text(f"{stem}, {label}")}" width="{w}" height="{h}" '
            f'src="data:image/webp;base64,{data}">'
        )

    images, lines = "", ""
    for index, image in fused.items():
        more = f' data-method="{index}"{" hidden" * (index != first)}'
        images += picture("fused", image, f"fused, {results[index].label}", more)
        scores = results[index].evaluation.images[stem].items()
        values = "".join(f"<span>{metric} <b>{printed(value)}</b></span>" for metric, value in scores)
        lines += f'<p class="scores"{more}>{values}</p>'
    names = side_names(name)
    for side, image, label in zip(("ir", "vi"), sources, names, strict=True):
        images += picture(side, image, label)
    return (
        f'<figure class="card" id="{_card_id(name, stem)}"><figcaption>{_text(stem)}</figcaption>'
        f'<div class="stage">{images}{_LINES}{_tags(*names)}</div>{_controls(stem, *names)}{lines}</figure>'
    )


_LINES = '<i class="line a"></i><i class="line b"></i>'


def _tags(ir: str, vi: str) -> str:
    texts = {"ir": ir, "fused": "fused", "vi": vi}
    return "".join(f'<span class="tag {side}">{text}</span>' for side, text in texts.items())


def _controls(stem: str, ir: str, vi: str) -> str:
    """Sliders for the two dividers, in percent of the width, and buttons for the positions most wanted."""
    sliders = "".join(
        f'<input type="range" class="{side}" min="0" max="100" value="{value}" aria-label="{_text(label)}">'
        for side, value, label in (("a", 33, f"{stem}: {ir} up to"), ("b", 67, f"{stem}: {vi} from"))
    )
    presets = "".join(
        f'<button type="button" data-a="{a}" data-b="{b}">{text}</button>'
        for text, a, b in ((ir, 100, 100), ("fused", 0, 100), (vi, 0, 0), ("all", 33, 67))
    )
    return f'<div class="sliders">{sliders}</div><div class="presets">{presets}</div>'
