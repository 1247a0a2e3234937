"""That no result can take the place of a source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from util.images.pairs import PairFiles
from util.run.results import FOLDERS


def check_places(save_dir: Path, pairs: Iterable[PairFiles]) -> None:
    """Raise ValueError if a folder of results below ``save_dir`` is, holds or lies in a folder of sources.

    Links are followed, of folders and of single files, and names that differ in case alone count as the same.
    """
    files = [path for pair in pairs for path in (pair.ir, pair.vi)]
    sources = {_real(path.parent) for path in files} | {_real(path).parent for path in files}
    for target in (save_dir / name for name in FOLDERS):
        place = _real(target)
        for source in sorted(sources):
            if _within(place, source) or _within(source, place):
                raise ValueError(
                    f"results go to {target}, and sources come from {source}: the ones would overwrite the others or "
                    "be taken for them; give another --save_dir"
                )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises for a link to itself


def _within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it."""
    return any(_same(part, folder) for part in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    if str(one).casefold() == str(other).casefold():
        return True
    try:
        return os.path.samestat(one.stat(), other.stat())  # one folder may be mounted twice
    except OSError:  # one is not there
        return False
