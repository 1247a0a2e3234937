"""The report: one HTML page that holds everything, to be opened anywhere and sent as it is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from util.evaluation.folders import Result
from util.evaluation.plots import radar_svg
from util.evaluation.report.card import card
from util.evaluation.report.images import extremes, filters, image_table
from util.evaluation.report.markup import Html, element, joined
from util.evaluation.report.places import slug
from util.evaluation.tables import KINDS, Block, Table, cells, heading, printed
from util.evaluation.views import by_dataset, choose_stems
from util.files import write_atomically


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
        links.append((slug(name), name))
    parts = {
        "NAV": joined((element("a", label, href=f"#{target}") for target, label in links), "\n"),
        "META": joined([_meta(results)]),
        "BODY": joined(sections, "\n"),
    }
    style, code = (_read(f"page.{suffix}") for suffix in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(f"\n{code}".encode()).digest()).decode()
    parts |= {"STYLE": Html(style), "CODE": Html(code), "SCRIPT": Html(f"'sha256-{digest}'")}
    page = _read("page.html")
    page = re.sub("{{([A-Z]+)}}", lambda match: parts[match.group(1)], page)
    write_atomically(path, page.encode())


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _meta(results: Sequence[Result]) -> str:
    sets = len(by_dataset(results))
    images = sum(len(result.evaluation.images) for result in results)
    return (
        f"{images} fused image{'s' * (images != 1)} of {sets} data set{'s' * (sets != 1)}, "
        f"protocol {results[0].evaluation.protocol}"
    )


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
                element("input", type="radio", name=f"{slug(name)}-method", value=index, checked=index == 0),
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
        extremes(name, results, set(stems)),
        filters(results[0].evaluation.metrics),
        image_table(name, results, set(stems)),
        choices,
        note,
        element("div", *(card(name, results, stem, max_side) for stem in stems), class_="cards"),
        id=slug(name),
        class_="dataset",
    )
