"""Which folders the sources of a run come from: those that are named, or those of a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from util.images.layouts import find_dataset
from util.images.pairs import MOST, InputError

log = logging.getLogger("ddfm")


def source_folders(root: Path, ir: Path | None = None, vi: Path | None = None) -> tuple[Path, Path]:
    """The folders of infrared and of visible images: those given, or ``ir`` and ``vi`` in ``root``, or a data set's.

    Raises InputError when ``root`` is a folder without the two in which no data set is found.
    """
    wanted = ir or root / "ir", vi or root / "vi"
    if ir or vi or wanted[0].is_dir() or wanted[1].is_dir() or not root.is_dir():
        return wanted
    dataset = find_dataset(root)
    log.info(f"{dataset.ir} and {dataset.vi}{'; ' * bool(dataset.note)}{dataset.note}")
    return dataset.ir, dataset.vi


def check_named(sources: Sequence[Path], other: Path | None = None, one_folder: bool = False) -> None:
    """Raise InputError unless there are 2 to 8 ``sources``, none twice.

    ``other``: named in another way beside them. ``one_folder``: several may lie in one, for patterns tell them apart.
    """
    if other is not None:
        raise InputError(f"{other} is named beside sources {sources[0]} ...: name all in one of both ways")
    if not 2 <= len(sources) <= MOST:
        many = "is 1 source" if len(sources) == 1 else f"are {len(sources)} sources"
        raise InputError(f"there {many}: give 2 to {MOST}")
    real = [source.resolve() for source in sources]
    twice = [source for place, source in enumerate(sources) if real[place] in real[:place]]
    if twice and not one_folder:
        raise InputError(
            f"{twice[0]} is named twice among the sources: that needs a pattern for each, --match"
        )
