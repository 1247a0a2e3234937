"""Tables of methods and metrics as text, Markdown, LaTeX and CSV, best and second best marked as in the paper."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from util.evaluation.metrics import ALL_METRICS, LOWER_IS_BETTER

RowKind = Literal["paper", "others", "here"]
Format = Literal["text", "markdown", "latex", "csv"]

KINDS: dict[RowKind, str] = {
    "paper": "as published",
    "others": "measured by others",
    "here": "made here",
}
_MARKING = "of the published rows and those made here, by the printed digits; rows of others are not ranked"


@dataclass(frozen=True)
class Row:
    """One method on one data set; ``images`` says how many images the values are the mean of.

    ``mark``: what the method is in fact, such as a copy of a source; ``ranked``: whether it can be the best.
    """

    label: str
    kind: RowKind
    values: dict[str, float]
    images: str = ""
    mark: str = ""
    ranked: bool = True

    @property
    def name(self) -> str:
        """The label and the mark."""
        return f"{self.label} [{self.mark}]" if self.mark else self.label


@dataclass(frozen=True)
class Block:
    """All rows of one data set."""

    dataset: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """A table of the paper with our rows or, without a number, of methods; ``notes`` go below it."""

    number: int | str | None
    title: str
    metrics: list[str]
    blocks: list[Block]
    protocol: str
    notes: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str:
        numbered = f"Table {self.number}. {self.title}" if isinstance(self.number, int) else self.title
        return f"{numbered}, protocol {self.protocol}"

    @property
    def headings(self) -> list[str]:
        """The metrics, each with an arrow to where it is better."""
        return [heading(name) for name in self.metrics]

    @property
    def one_kind(self) -> bool:
        """Whether all rows were made here, so that their kind need not be told."""
        return all(row.kind == "here" for block in self.blocks for row in block.rows)


def printed(value: float | None) -> str:
    """Two decimals, as in the paper, or two digits of what would be 0.00; a dash where there is no value."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.1e}" if 0 < abs(value) < 0.005 else f"{value:.2f}"


def heading(metric: str) -> str:
    """The name and an arrow to where it is better, if it is a metric."""
    if metric not in ALL_METRICS:
        return metric
    return f"{metric} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def ranks(rows: list[Row], metric: str) -> dict[int, int]:
    """Index of a row -> 1 for the best value of the metric, 2 for the second best; equal when printed is equal.

    Rows of others and those that are not to be ranked have none, nor has what is no metric.
    """
    values: dict[int, float] = {}
    if metric not in ALL_METRICS:
        return {}
    for index, row in enumerate(rows):
        if row.kind != "others" and row.ranked and printed(row.values.get(metric)) != "-":
            values[index] = float(printed(row.values[metric]))
    if len(values) < 2:
        return {}
    order = sorted(set(values.values()), reverse=metric not in LOWER_IS_BETTER)
    return {index: order.index(value) + 1 for index, value in values.items() if value in order[:2]}


def render(table: Table, form: Format) -> str:
    """The table in one of the formats, ending with a line break."""
    return {"text": _text, "markdown": _markdown, "latex": _latex, "csv": _csv}[form](table)


def cells(block: Block, metrics: list[str], mark: Callable[[str, int], str]) -> list[list[str]]:
    """Label, number of images and values of every row; ``mark`` dresses a value of rank 1 or 2."""
    ranked = {metric: ranks(block.rows, metric) for metric in metrics}
    return [
        [row.name, row.images or "?"]
        + [
            mark(printed(row.values.get(metric)), ranked[metric][index])
            if index in ranked[metric]
            else printed(row.values.get(metric))
            for metric in metrics
        ]
        for index, row in enumerate(block.rows)
    ]


def _text(table: Table) -> str:
    bodies = [cells(block, table.metrics, lambda value, rank: value + " *+"[rank]) for block in table.blocks]
    labels = [line[0] for body in bodies for line in body] + [block.dataset for block in table.blocks]
    first = max((len(label) for label in labels), default=0) + 4
    images = max([6, *(len(line[1]) for body in bodies for line in body)])
    widths = [max(8, len(name) + 1) for name in table.headings]
    lines = [table.caption]
    for block, body in zip(table.blocks, bodies, strict=True):
        head = "".join(f"{name:>{width}} " for name, width in zip(table.headings, widths, strict=True))
        lines += ["", f"{block.dataset:{first}}  {'images':>{images}}{head}".rstrip()]
        before = "here" if table.one_kind else None
        for row, line in zip(block.rows, body, strict=True):
            if row.kind != before:
                lines.append(f"  {KINDS[row.kind]}:")
                before = row.kind
            numbers = "".join(
                f"{value:>{width + 1}}" if value[-1] in "*+" else f"{value:>{width}} "
                for value, width in zip(line[2:], widths, strict=True)
            )  # marks stand to the right of aligned digits
            lines.append(f"    {line[0]:{first - 2}}{line[1]:>{images}}{numbers}".rstrip())
    lines.append("")
    for note in [f"* best, + second best{_marking(table)}{_unknown(table)}", *table.notes]:
        lines += textwrap.wrap(note, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _marking(table: Table) -> str:
    return ", by the printed digits" if table.one_kind else f" {_MARKING}"


def _unknown(table: Table) -> str:
    asked = any(not row.images for block in table.blocks for row in block.rows)
    return "; ? number of images not known" if asked else ""


def _markdown(table: Table) -> str:
    def mark(value: str, rank: int) -> str:
        return f"**{value}**" if rank == 1 else f"<u>{value}</u>"

    lines = [f"**{_markdown_text(table.caption)}**"]
    kinds = [] if table.one_kind else ["rows"]
    for block in table.blocks:
        heads = [_markdown_text(block.dataset), *kinds, "images", *table.headings]
        lines += ["", f"| {' | '.join(heads)} |"]
        lines.append("|---" + "|---" * len(kinds) + "|--:" * (1 + len(table.metrics)) + "|")
        for row, line in zip(block.rows, cells(block, table.metrics, mark), strict=True):
            kind = [KINDS[row.kind]] * len(kinds)
            lines.append(f"| {' | '.join([_markdown_text(line[0]), *kind, *line[1:]])} |")
    lines += ["", f"Bold: best, underlined: second best{_marking(table)}.", ""]
    return "\n".join([*lines, *(f"- {_markdown_text(note)}" for note in table.notes)]).rstrip() + "\n"


def _markdown_text(text: str) -> str:
    """A name in a cell: no bar, and nothing that a renderer would take for a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _latex(table: Table) -> str:
    def mark(value: str, rank: int) -> str:
        return rf"\textbf{{{value}}}" if rank == 1 else rf"\underline{{{value}}}"

    columns = 2 + len(table.metrics)
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{_escape(table.title)}, protocol {table.protocol}.}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}"]
    heads = [
        _escape(name).replace("↓", r"$\downarrow$").replace("↑", r"$\uparrow$") for name in table.headings
    ]
    for block in table.blocks:
        lines.append(r"\toprule" if block is table.blocks[0] else r"\midrule")
        lines += [" & ".join([_escape(block.dataset), "images", *heads]) + r" \\"]
        before = None
        if table.one_kind:
            lines.append(r"\midrule")
            before = "here"
        for row, line in zip(block.rows, cells(block, table.metrics, mark), strict=True):
            if row.kind != before:
                lines += [
                    r"\midrule",
                    rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{KINDS[row.kind]}}}}} \\",
                ]
                before = row.kind
            lines.append(" & ".join([_escape(line[0]), *line[1:]]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    lines.append(f"% bold: best, underlined: second best{_marking(table)}")
    return "\n".join([*lines, *(f"% {' '.join(note.split())}" for note in table.notes)]) + "\n"


def _escape(text: str) -> str:
    """Text that TeX prints as it is, whatever it holds."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in " ".join(text.split()))


def _csv(table: Table) -> str:
    """Whole precision, no marks and no notes; what is not known is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "dataset", "rows", "method", "images", "protocol", *table.metrics])
    for block in table.blocks:
        for row in block.rows:
            values = [row.values.get(metric, "") for metric in table.metrics]
            protocol = table.protocol if row.kind == "here" else "ddfm"
            writer.writerow(
                [
                    "" if table.number is None else table.number,
                    block.dataset,
                    row.kind,
                    row.name,
                    row.images,
                    protocol,
                    *values,
                ]
            )
    return buffer.getvalue()
