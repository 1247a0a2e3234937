"""Where a download came from, kept beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """Where a file came from; kept beside it as ``NAME.source.json``, from the first byte on."""

    url: str
    size: int | None
    version: str


def part_path(target: Path) -> Path:
    """Where an unfinished download of ``target`` waits to be continued."""
    return target.with_name(f"{target.name}.part")


def origin_path(target: Path) -> Path:
    """Where the :class:`Origin` of ``target`` is kept."""
    return target.with_name(f"{target.name}.source.json")


def read_origin(target: Path) -> Origin | None:
    """Where ``target`` was fetched from; None if that is not known, as for files that were put there by hand."""
    try:
        path = origin_path(target)
        origin = Origin(**json.loads(path.read_bytes())) if path.is_file() else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if origin is None or not isinstance(origin.url, str) or not isinstance(origin.version, str):
        return None
    return origin if origin.size is None or isinstance(origin.size, int) else None
