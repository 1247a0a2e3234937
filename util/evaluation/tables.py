"""Tables of methods and metrics as text, Markdown, LaTeX and CSV, best and second best marked as in the paper."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

RowKind = Literal["paper", "others", "here"]
Format = Literal["text", "markdown", "latex", "csv"]

LOWER_IS_BETTER = frozenset({"MSE"})
KINDS: dict[RowKind, str] = {
    "paper": "as published",
    "others": "measured by others",
    "here": "made here",
}
_MARKING = "of the published rows and those made here, by the printed digits; rows of others are not ranked"


@dataclass(frozen=True)
class Row:
    """One method on one data set; ``images`` says how many images the values are the mean of."""

    label: str
    kind: RowKind
    values: dict[str, float]
    images: str = ""


@dataclass(frozen=True)
class Block:
    """All rows of one data set."""

    dataset: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """A table of the paper with our rows; ``notes`` go below it."""

    number: int
    title: str
    metrics: list[str]
    blocks: list[Block]
    protocol: str
    notes: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str:
        return f"Table {self.number}. {self.title}, protocol {self.protocol}"


def printed(value: float | None) -> str:
    """Two decimals, as in the paper; a dash where there is no value."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"


def ranks(rows: list[Row], metric: str) -> dict[int, int]:
    """Index of a row -> 1 for the best value of the metric, 2 for the second best; equal when printed is equal."""
    values: dict[int, float] = {}
    for index, row in enumerate(rows):
        if row.kind != "others" and printed(row.values.get(metric)) != "-":
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
        [row.label, row.images or "?"]
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
    width = max((len(label) for label in labels), default=0) + 4
    images = max([6, *(len(line[1]) for body in bodies for line in body)])
    lines = [table.caption]
    for block, body in zip(table.blocks, bodies, strict=True):
        head = "".join(f"{name:>8} " for name in table.metrics)
        lines += ["", f"{block.dataset:{width}}  {'images':>{images}}{head}".rstrip()]
        before = None
        for row, line in zip(block.rows, body, strict=True):
            if row.kind != before:
                lines.append(f"  {KINDS[row.kind]}:")
                before = row.kind
            numbers = "".join(
                f"{value:>9}" if value[-1] in "*+" else f"{value:>8} " for value in line[2:]
            )  # marks stand to the right of aligned digits
            lines.append(f"    {line[0]:{width - 2}}{line[1]:>{images}}{numbers}".rstrip())
    lines.append("")
    for note in [f"* best, + second best {_MARKING}; ? number of images not known", *table.notes]:
        lines += textwrap.wrap(note, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _markdown(table: Table) -> str:
    def mark(value: str, rank: int) -> str:
        return f"**{value}**" if rank == 1 else f"<u>{value}</u>"

    lines = [f"**{table.caption}**"]
    for block in table.blocks:
        lines += ["", f"| {block.dataset} | rows | images | {' | '.join(table.metrics)} |"]
        lines.append("|---|---|--:|" + "--:|" * len(table.metrics))
        for row, line in zip(block.rows, cells(block, table.metrics, mark), strict=True):
            label = line[0].replace("|", "\\|")
            lines.append(f"| {label} | {KINDS[row.kind]} | {' | '.join(line[1:])} |")
    lines += ["", f"Bold: best, underlined: second best {_MARKING}."]
    return "\n".join([*lines, *(f"- {note}" for note in table.notes)]) + "\n"


def _latex(table: Table) -> str:
    def mark(value: str, rank: int) -> str:
        return rf"\textbf{{{value}}}" if rank == 1 else rf"\underline{{{value}}}"

    columns = 2 + len(table.metrics)
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{_escape(table.title)}, protocol {table.protocol}.}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}"]
    for block in table.blocks:
        lines.append(r"\toprule" if block is table.blocks[0] else r"\midrule")
        lines += [" & ".join([_escape(block.dataset), "images", *table.metrics]) + r" \\"]
        before = None
        for row, line in zip(block.rows, cells(block, table.metrics, mark), strict=True):
            if row.kind != before:
                lines += [
                    r"\midrule",
                    rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{KINDS[row.kind]}}}}} \\",
                ]
                before = row.kind
            lines.append(" & ".join([_escape(line[0]), *line[1:]]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    lines.append(f"% bold: best, underlined: second best {_MARKING}")
    return "\n".join([*lines, *(f"% {note}" for note in table.notes)]) + "\n"


def _escape(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, "\\" + character)
    return text


def _csv(table: Table) -> str:
    """Whole precision, no marks and no notes; what is not known is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "dataset", "rows", "method", "images", "protocol", *table.metrics])
    for block in table.blocks:
        for row in block.rows:
            values = [row.values.get(metric, "") for metric in table.metrics]
            protocol = table.protocol if row.kind == "here" else "ddfm"
            writer.writerow([table.number, block.dataset, row.kind, row.label, row.images, protocol, *values])
    return buffer.getvalue()
