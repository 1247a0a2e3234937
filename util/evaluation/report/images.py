"""The report's table of every image: sorted, filtered, with the best and the worst images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from util.evaluation.folders import Result, Scores
from util.evaluation.metrics import LOWER_IS_BETTER
from util.evaluation.report.markup import Html, element
from util.evaluation.report.places import card_id
from util.evaluation.tables import heading, printed


def extremes(name: str, results: Sequence[Result], linked: set[str]) -> Html:
    """The best and the worst image of every method in every metric, with links to those that are shown."""

    def place(stem: str, value: float) -> Html:
        label = element("a", stem, href=f"#{card_id(name, stem)}") if stem in linked else stem
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


def filters(metrics: Sequence[str]) -> Html:
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


def image_table(name: str, results: Sequence[Result], shown_stems: set[str]) -> Html:
    """Every image's metrics; the headings sort, and the cards follow."""
    metrics = results[0].evaluation.metrics
    several = len(results) > 1
    heads = ["image", *(["fused by"] if several else []), *metrics]
    head = [
        element(
            "th",
            element(
                "button",
                heading(text),
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
    image = element("a", stem, href=f"#{card_id(name, stem)}") if linked else stem
    columns = [element("th", image, scope="row", data_value=stem)]
    if label is not None:
        columns.append(element("td", label, class_="name", data_value=label))
    columns += [
        element("td", printed(value), data_value=value if math.isfinite(value) else "")
        for value in scores.values()
    ]
    return element("tr", *columns, data_card=card_id(name, stem))
