"""Tables: marks, formats, and the file of published rows."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
import yaml

from util.evaluation.metrics import PAPER_METRICS
from util.evaluation.published import PublishedRow, read_published
from util.evaluation.tables import Block, Format, Row, Table, printed, ranks, render

PUBLISHED = Path(__file__).parents[3] / "configs/published_tables.yaml"
ROWS = [
    Row("alpha", "paper", {"EN": 7.0, "MSE": 30.0}),
    Row("beta", "others", {"EN": 9.0, "MSE": 1.0}, "221"),
    Row("g_1 (x)", "here", {"EN": 7.41, "MSE": 20.0}, "3 of 50"),
    Row("delta", "here", {"EN": 7.414, "MSE": 10.0}, "50"),
    Row("none", "here", {"EN": float("nan")}, "50"),
]
TABLE = Table(1, "Title", ["EN", "MSE"], [Block("TNO", ROWS)], "ddfm", ["a note about 50 % of a_b"])


def test_ranks_follow_printed_digits_direction_and_comparability():
    assert ranks(ROWS, "EN") == {2: 1, 3: 1, 0: 2}  # 7.41 twice; rows of others do not count
    assert ranks(ROWS, "MSE") == {3: 1, 2: 2}  # lower is better
    assert ranks(ROWS[:2], "EN") == {} and ranks(ROWS, "VIF") == {}


def test_what_is_not_known_is_a_dash():
    assert [printed(value) for value in (None, float("inf"), 0.125, 12)] == ["-", "-", "0.12", "12.00"]


def test_text_aligns_columns_and_names_groups():
    lines = render(TABLE, "text").splitlines()
    assert lines[0] == "Table 1. Title, protocol ddfm"
    assert [line.strip() for line in lines if line.endswith(":")] == [
        "as published:",
        "measured by others:",
        "made here:",
    ]
    values = [line for line in lines if re.search(r"\d\.\d\d", line)]
    assert [line.split()[-2:] for line in values] == [
        ["7.00+", "30.00"],
        ["9.00", "1.00"],
        ["7.41*", "20.00+"],
        ["7.41*", "10.00*"],
    ]
    assert len({line.rstrip("*+").rindex(".") for line in values}) == 1
    assert "- a note about 50 % of a_b" in lines


def test_markdown_has_bold_and_underlined_cells():
    text = render(TABLE, "markdown")
    assert "| alpha | as published | ? | <u>7.00</u> | 30.00 |" in text
    assert "| delta | made here | 50 | **7.41** | **10.00** |" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {6}


def test_latex_escapes_and_marks():
    text = render(TABLE, "latex")
    assert r"g\_1 (x) & 3 of 50 & \textbf{7.41} & \underline{20.00} \\" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {3}
    assert text.count(r"\begin") == text.count(r"\end") == 2


def test_csv_is_plain_and_precise():
    rows = list(csv.DictReader(io.StringIO(render(TABLE, "csv"))))
    assert [row["method"] for row in rows] == [row.label for row in ROWS]
    assert rows[3]["EN"] == "7.414" and rows[1]["rows"] == "others" and rows[2]["images"] == "3 of 50"
    assert rows[4]["MSE"] == ""


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_tables_without_rows_are_tables(form: Format):
    assert render(Table(3, "Empty", ["EN"], [], "ddfm"), form).endswith("\n")


def test_the_published_rows_have_sources_and_all_tables_are_there():
    tables = read_published(PUBLISHED)
    assert list(tables) == [1, 2, 3, "emma"]
    ours = next(row for row in tables[1].rows if row.kind == "paper" and not row.compared)
    assert ours.values["RoadScene"] == {
        "EN": 7.41, "SD": 52.61, "MI": 2.35, "VIF": 0.75, "Qabf": 0.65, "SSIM": 0.98,
    }  # fmt: skip
    assert all(row.source for table in tables.values() for row in table.rows)


def test_every_printed_row_is_whole():
    """Eight methods on every data set of Tables 1 and 3, five experiments in Table 2, ten methods in EMMA's."""
    tables = read_published(PUBLISHED)
    for number, datasets, count in (
        (1, ["MSRS", "M3FD", "RoadScene", "TNO"], 8),
        (2, ["RoadScene"], 5),
        (3, ["Harvard"], 8),
        ("emma", ["MSRS", "RoadScene", "M3FD", "Harvard"], 10),
    ):
        for dataset in datasets:
            values = [row.values[dataset] for row in tables[number].rows if row.kind == "paper"]
            metrics = tables[number].metrics or PAPER_METRICS
            assert len(values) == count and all(list(row) == metrics for row in values), (number, dataset)


def test_rows_that_are_not_ranked_are_never_best():
    rows = [
        Row("a", "here", {"EN": 7.0}),
        Row("b", "here", {"EN": 6.0}),
        Row("c", "here", {"EN": 8.0}, "", "copy", False),
    ]
    assert ranks(rows, "EN") == {0: 1, 1: 2} and ranks(rows, "no metric") == {}
    assert "c [copy]" in render(Table(None, "T", ["EN"], [Block("X", rows)], "ddfm"), "text")


def test_hostile_names_stay_text():
    name = "\\input{x} <b>|a_b\n~^"
    table = Table(None, name, ["EN"], [Block(name, [Row(name, "here", {"EN": 7.0})])], "ddfm", [name])
    markdown, latex = render(table, "markdown"), render(table, "latex")
    assert "<b>" not in markdown and r"\|a_b" in markdown
    body = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    assert r"\input" not in body and r"\textbackslash{}input\{x\}" in body
    assert latex.splitlines()[-1].startswith("%")  # a line break in a note does not end the comment


ROW = {"method": "m", "kind": "paper", "source": "s", "values": {"TNO": {"EN": 7}}}


def write(path: Path, row: dict[str, object]) -> Path:
    table = {"title": "t", "datasets": ["TNO"], "rows": [row]}
    path.write_text(yaml.safe_dump({"tables": {1: table}}))
    return path


def test_rows_can_be_added(tmp_path: Path):
    table = read_published(write(tmp_path / "p.yaml", {**ROW, "images": 25}))[1]
    assert table.rows == [PublishedRow("m", "paper", "s", {"TNO": {"EN": 7}}, 25)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ours"}, "'ours' is none of paper, others"),
        ({"values": {"KAIST": {"EN": 7}}}, "'KAIST' is none of MSRS"),
        ({"values": {"TNO": {"FID": 7}}}, "'FID' is none of EN"),
        ({"values": {"TNO": {"EN": "7,1"}}}, "EN of TNO is '7,1', but must be a number"),
        ({"values": {"TNO": 7}}, "TNO must hold metrics"),
        ({"colour": "red"}, "unknown key colour"),
        ({"source": 7}, "source is 7, but must be a str"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict[str, object], message: str):
    with pytest.raises(ValueError, match="table 1, row 1: ") as caught:
        read_published(write(tmp_path / "p.yaml", {**ROW, **change}))
    assert message in str(caught.value)


def test_bad_files_are_named(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("tables: 3")
    with pytest.raises(ValueError, match=r"p\.yaml: the key tables"):
        read_published(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text("tables: {1: {title: x}}")
    with pytest.raises(ValueError, match="the key datasets is missing"):
        read_published(tmp_path / "p.yaml")
