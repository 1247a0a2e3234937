"""Rows that others printed: reading ``configs/published_tables.yaml``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from util.evaluation.metrics import ALL_METRICS, PAPER_METRICS
from util.images.named_datasets import TABLE_DATASETS

Kind = Literal["paper", "others"]

PRINTED_DATASETS = (*TABLE_DATASETS, "Harvard")
"""Those that rows can be about: the data sets, and the Harvard medical one as a whole, whose parts we measure."""


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers: data set -> metric -> value. ``images``: how many of each set, if that is known.

    ``compared``: whether it is of a method that a paper compares with, or a part of its ablation.
    """

    method: str
    kind: Kind
    source: str
    values: dict[str, dict[str, float]]
    images: int | None = None
    compared: bool = False


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper. ``wanting``: what its reader must know; ``metrics``: its own, None for DDFM's six."""

    number: int | str
    title: str
    datasets: list[str]
    rows: list[PublishedRow]
    wanting: str = ""
    metrics: list[str] | None = None

    @property
    def shown(self) -> list[str]:
        """The metrics that it is printed in."""
        return list(self.metrics or PAPER_METRICS)

    def in_order(self, methods: Iterable[str]) -> list[str]:
        """Names of methods, those first that it has and in its order; spelling in capitals and hyphens is free."""
        places = {_letters(row.method): place for place, row in enumerate(self.rows)}
        return sorted(methods, key=lambda name: places.get(_letters(name), len(places)))


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def published_tables(path: Path, numbers: Sequence[int | str]) -> list[PublishedTable]:
    """Those of a YAML file. Raises ValueError as :func:`read_published` does, and for a table that it has not."""
    tables = read_published(path)
    for number in numbers:
        if number not in tables:
            raise ValueError(f"{path} has no table {number}")
    return [tables[number] for number in numbers]


def read_published(path: Path) -> dict[int | str, PublishedTable]:
    """The tables in a YAML file by number. Raises ValueError that names the file and the place."""
    from util.config_io import read_yaml  # here, for it brings YAML, which only tables need

    content = read_yaml(path).get("tables")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: the key tables must hold the tables by number")
    return {number: _table(number, table, f"{path}: table {number}") for number, table in content.items()}


def _table(number: int | str, content: Any, where: str) -> PublishedTable:
    _check_keys(
        content, {"title": str, "datasets": list, "rows": list}, {"wanting": str, "metrics": list}, where
    )
    for dataset in content["datasets"]:
        _check_known(dataset, PRINTED_DATASETS, where)
    for metric in content.get("metrics", []):
        _check_known(metric, ALL_METRICS, where)
    rows = [_row(row, f"{where}, row {index}") for index, row in enumerate(content.pop("rows"), 1)]
    return PublishedTable(number, rows=rows, **content)


def _row(content: Any, where: str) -> PublishedRow:
    required = {"method": str, "kind": str, "source": str, "values": dict}
    _check_keys(content, required, {"images": int, "compared": bool}, where)
    _check_known(content["kind"], get_args(Kind), where)
    for dataset, scores in content["values"].items():
        _check_known(dataset, PRINTED_DATASETS, where)
        if not isinstance(scores, dict):
            raise ValueError(f"{where}: {dataset} must hold metrics and values")
        for metric, value in scores.items():
            _check_known(metric, ALL_METRICS, where)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{where}: {metric} of {dataset} is {value!r}, but must be a number")
    return PublishedRow(**content)


def _check_keys(content: Any, required: dict[str, type], optional: dict[str, type], where: str) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: must hold the keys {', '.join(required)}")
    allowed = {**required, **optional}
    for key in [*required, *content]:
        if key not in content:
            raise ValueError(f"{where}: the key {key} is missing")
        if key not in allowed:
            raise ValueError(f"{where}: unknown key {key}; the keys here are {', '.join(allowed)}")
        if not isinstance(content[key], allowed[key]):
            raise ValueError(f"{where}: {key} is {content[key]!r}, but must be a {allowed[key].__name__}")


def _check_known(name: Any, known: Any, where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is none of {', '.join(known)}")
