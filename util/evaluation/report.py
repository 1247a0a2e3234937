"""The report: one HTML page that holds everything, to be opened anywhere and sent as it is."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from util.evaluation.comparison import best_is
from util.evaluation.folders import Result, Scores
from util.evaluation.markup import Html, element, joined
from util.evaluation.metrics import LOWER_IS_BETTER
from util.evaluation.plots import radar_svg
from util.evaluation.tables import KINDS, Block, Table, cells, heading, printed
from util.evaluation.views import by_dataset, choose_stems, fused_file, shown, source_labels
from util.files import write_atomically
from util.images.image_io import read_image
from util.images.png import encode_preview

TEMPLATE = Path(__file__).with_name("report_template.html")


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
    sections = [_table_section(table, index) for index, table in enumerate(tables)]
    links = [(f"table-{index}", _title(table)) for index, table in enumerate(tables)]
    if not tables:
        sections, links = [_summary_section(results)], [("summary", "Summary")]
    for name, of_set in by_dataset(results).items():
        sections.append(_dataset_section(name, of_set, chosen[name], max_side))
        links.append((_slug(name), name))
    parts = {
        "NAV": joined((element("a", label, href=f"#{target}") for target, label in links), "\n"),
        "META": joined([_meta(results)]),
        "BODY": joined(sections, "\n"),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    script = page[page.index("<script>") + len("<script>") : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts["SCRIPT"] = Html(f"'sha256-{digest}'")
    page = re.sub("{{([A-Z]+)}}", lambda match: parts[match.group(1)], page)
    write_atomically(path, page.encode())


def _meta(results: Sequence[Result]) -> str:
    sets = len(by_dataset(results))
    images = sum(len(result.evaluation.images) for result in results)
    return (
        f"{images} fused image{'s' * (images != 1)} of {sets} data set{'s' * (sets != 1)}, "
        f"protocol {results[0].evaluation.protocol}"
    )


def _encoded(name: str) -> str:
    return re.sub("[^A-Za-z0-9]", lambda match: f"-{ord(match.group()):x}-", name)


def _slug(name: str) -> str:
    return f"set-{_encoded(name)}"


def _card_id(name: str, stem: str) -> str:
    return f"{_slug(name)}--{_encoded(stem)}"


def _title(table: Table) -> str:
    return f"Table {table.number}" if isinstance(table.number, int) else table.title


def _table_section(table: Table, index: int) -> Html:
    ranked = (
        "" if table.one_kind else " of the published rows and those made here (rows of others are not ranked)"
    )
    return element(
        "section",
        element("h2", table.caption),
        *(_block(block, table) for block in table.blocks),
        element("p", element("b", "Bold"), ": best, ", element("u", "underlined"), f": second best{ranked}."),
        element("ul", *(element("li", note) for note in table.notes), class_="notes"),
        id=f"table-{index}",
    )


def _block(block: Block, table: Table) -> Html:
    """The rows of one data set and, beside them, their radar plot."""
    lines, before = [], "here" if table.one_kind else None
    marked = cells(block, table.metrics, lambda value, rank: element("b" if rank == 1 else "u", value))
    for row, (label, *values) in zip(block.rows, marked, strict=True):
        if row.kind != before:
            kind = element("th", KINDS[row.kind], colspan=2 + len(table.metrics))
            lines.append(element("tr", kind, class_="kind"))
            before = row.kind
        columns = [element("td", value) for value in values]
        lines.append(element("tr", element("th", label, scope="row"), *columns, class_=row.kind))
    heads = [block.dataset, "images", *table.headings]
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    rows = element("table", element("thead", head), element("tbody", *lines))
    plot = radar_svg(block, table.metrics)
    figure = Html("")
    if plot:
        label = f"radar plot of {block.dataset}: {', '.join(row.label for row in block.rows)}"
        figure = element("figure", Html(plot), class_="radar", role="img", aria_label=label)
    return element("div", element("div", rows, class_="scroll"), figure, class_="block")


def _summary_section(results: Sequence[Result]) -> Html:
    """Mean and standard deviation, where there is no table of the paper."""
    metrics = results[0].evaluation.metrics
    rows = []
    for result in results:
        values = []
        for name in metrics:
            mean, std = result.evaluation.statistic(name)
            values.append(element("td", printed(mean), " ", element("small", f"± {printed(std)}")))
        count = element("td", len(result.evaluation.images))
        label = element("th", f"{result.dataset}, {result.label}", scope="row")
        rows.append(element("tr", label, count, *values))
    heads = ["", "images", *(heading(name) for name in metrics)]
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    table = element("table", element("thead", head), element("tbody", *rows))
    title = element("h2", "Mean and standard deviation")
    return element("section", title, element("div", table, class_="scroll"), id="summary")


def _dataset_section(name: str, results: Sequence[Result], stems: Sequence[str], max_side: int) -> Html:
    choices = Html("")
    if len(results) > 1:
        radios = [
            element(
                "label",
                element("input", type="radio", name=f"{_slug(name)}-method", value=index, checked=index == 0),
                result.label,
            )
            for index, result in enumerate(results)
        ]
        choices = element("fieldset", element("legend", "fused by"), *radios, class_="methods")
    count = max(len(result.evaluation.images) for result in results)
    note = element("p", f"{len(stems)} of {count} pairs are shown.") if len(stems) < count else Html("")
    origins = [element("li", f"{result.label}: {result.origin}") for result in results if result.origin]
    return element(
        "section",
        element("h2", name),
        element("ul", *origins, class_="notes") if origins else Html(""),
        _extremes(name, results, set(stems)),
        _filters(results[0].evaluation.metrics),
        _image_table(name, results, set(stems)),
        choices,
        note,
        element("div", *(_card(name, results, stem, max_side) for stem in stems), class_="cards"),
        id=_slug(name),
        class_="dataset",
    )


def _extremes(name: str, results: Sequence[Result], linked: set[str]) -> Html:
    """The best and the worst image of every method in every metric, with links to those that are shown."""

    def place(stem: str, value: float) -> Html:
        label = element("a", stem, href=f"#{_card_id(name, stem)}") if stem in linked else stem
        return element("td", label, f" {printed(value)}", class_="name")

    rows = []
    for result in results:
        for metric in result.evaluation.metrics:
            values = {
                stem: scores[metric]
                for stem, scores in result.evaluation.images.items()
                if math.isfinite(scores[metric])
            }
            if values:
                order = sorted(values, key=lambda stem: values[stem], reverse=metric not in LOWER_IS_BETTER)
                ends = [place(stem, values[stem]) for stem in (order[0], order[-1])]
                rows.append(
                    element(
                        "tr",
                        element("th", result.label, scope="row"),
                        element("td", heading(metric), class_="name"),
                        *ends,
                    )
                )
    head = element(
        "tr", *(element("th", text, class_="name") for text in ("fused by", "metric", "best", "worst"))
    )
    table = element("table", element("thead", head), element("tbody", *rows))
    return element(
        "details", element("summary", "best and worst images"), element("div", table, class_="scroll tall")
    )


def _filters(metrics: Sequence[str]) -> Html:
    """Show only images whose value of a metric lies between two numbers."""
    options = [
        element("option", "no metric", value=""),
        *(element("option", name, value=name) for name in metrics),
    ]
    return element(
        "div",
        element("label", "only images with ", element("select", *options, class_="by")),
        element("label", " from ", element("input", type="number", step="any", class_="from")),
        element("label", " to ", element("input", type="number", step="any", class_="to")),
        element("label", " and a name with ", element("input", type="search", class_="named")),
        element("output", "", class_="left"),
        class_="filters",
    )


def _image_table(name: str, results: Sequence[Result], shown_stems: set[str]) -> Html:
    """Every image's metrics; the headings sort, and the cards follow."""
    metrics = results[0].evaluation.metrics
    several = len(results) > 1
    heads = ["image", *(["fused by"] if several else []), *metrics]
    arrows = best_is(heads)
    head = [
        element(
            "th",
            element(
                "button",
                f"{text} {arrows[text]}".strip(),
                type="button",
                title=f"sort{'; lower is better' if text in LOWER_IS_BETTER else ''}",
            ),
            aria_sort="none",
            class_="name" if text == "fused by" else None,
            data_metric=text,
        )
        for text in heads
    ]
    rows = [
        _image_row(name, stem, result.label if several else None, scores, stem in shown_stems)
        for result in results
        for stem, scores in result.evaluation.images.items()
    ]
    table = element(
        "table",
        element("caption", f"every image of {name}"),
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="sortable",
    )
    return element("div", table, class_="scroll tall")


def _image_row(name: str, stem: str, label: str | None, scores: Scores, linked: bool) -> Html:
    image = element("a", stem, href=f"#{_card_id(name, stem)}") if linked else stem
    columns = [element("th", image, scope="row", data_value=stem)]
    if label is not None:
        columns.append(element("td", label, class_="name", data_value=label))
    columns += [
        element("td", printed(value), data_value=value if math.isfinite(value) else "")
        for value in scores.values()
    ]
    return element("tr", *columns, data_card=_card_id(name, stem))


def _card(name: str, results: Sequence[Result], stem: str, max_side: int) -> Html:
    """One pair: its images upon each other, of which two sliders show a strip each."""
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

    def picture(side: str, image: np.ndarray, label: str, method: int | None = None) -> Html:
        content, (w, h) = encode_preview(image[:height, :width], max_side)
        return element(
            "img",
            class_=side,
            data_method=method,
            hidden=method is not None and method != first,
            alt=f"{stem}, {'fused, ' if method is not None else ''}{label}",
            data_label=label,
            width=w,
            height=h,
            src=f"data:image/webp;base64,{base64.b64encode(content).decode()}",
        )

    images = [picture("fused", image, results[index].label, index) for index, image in fused.items()]
    lines = []
    for index in fused:
        scores = results[index].evaluation.images[stem].items()
        values = [
            element("span", f"{heading(metric)} ", element("b", printed(value))) for metric, value in scores
        ]
        lines.append(element("p", *values, class_="scores", data_method=index, hidden=index != first))
    labels = source_labels(results[0])
    for side, image, label in zip(("ir", "vi"), sources, labels, strict=True):
        images.append(picture(side, image, label))
    stage = element(
        "div", *images, *(element("i", class_=f"line {end}") for end in "ab"), *_tags(*labels), class_="stage"
    )
    title = element(
        "figcaption",
        stem,
        element("button", "full window", type="button", class_="open", aria_label=f"{stem} in full window"),
    )
    return element(
        "figure", title, stage, *_controls(stem, *labels), *lines, class_="card", id=_card_id(name, stem)
    )


def _tags(first: str, second: str) -> list[Html]:
    texts = {"ir": first, "fused": "fused", "vi": second}
    return [element("span", text, class_=f"tag {side}") for side, text in texts.items()]


def _controls(stem: str, first: str, second: str) -> list[Html]:
    """Sliders for the two dividers, in percent of the width, and buttons for the positions most wanted."""
    sliders = [
        element("input", type="range", class_=side, min=0, max=100, value=value, aria_label=label)
        for side, value, label in (("a", 33, f"{stem}: {first} up to"), ("b", 67, f"{stem}: {second} from"))
    ]
    presets = [
        element("button", text, type="button", data_a=a, data_b=b)
        for text, a, b in ((first, 100, 100), ("fused", 0, 100), (second, 0, 0), ("all", 33, 67))
    ]
    return [element("div", *sliders, class_="sliders"), element("div", *presets, class_="presets")]
