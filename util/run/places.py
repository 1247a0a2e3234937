"""That no result can take the place of a source."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from util.images.pairs import PairFiles
from util.run.results import FOLDERS, beside


def check_places(save_dir: Path, pairs: Iterable[PairFiles]) -> None:
    """Raise ValueError if a folder of results below ``save_dir`` is, holds or lies in a folder of sources.

    Links are followed, of folders and of single files, and names that differ in case alone count as the same.
    """
    files = [path for pair in pairs for path in pair.paths]
    sources = {_real(path.parent) for path in files} | {_real(path).parent for path in files}
    for target in (save_dir / name for name in FOLDERS):
        place = _real(target)
        for source in sorted(sources):
            if _within(place, source) or _within(source, place):
                raise ValueError(
                    f"results go to {target}, and sources come from {source}: the ones would overwrite the others or "
                    "be taken for them; give another --save_dir"
                )


def check_file(output: Path | None, save_dir: Path, pair: PairFiles, samples: int = 1) -> None:
    """Raise ValueError if the result of one pair would take the place of a source, or cannot be written.

    ``output``: where it goes; None: to the folders below ``save_dir``, which may lie beside the sources. ``samples``:
    the spread of several goes beside it.
    """
    targets = [save_dir / name / f"{pair.stem}.png" for name in ("recon", "color", "uncertainty")]
    if output is not None:
        targets = [output, *([beside(output)] if samples > 1 else [])]
        if output.suffix.lower() != ".png":
            raise ValueError(f"{output}: results are PNG files, give a name that ends in .png")
        if output.is_dir():
            raise ValueError(f"{output} is a folder: give the name of a file")
        folder = next(place for place in output.absolute().parents if place.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise ValueError(f"{output}: nothing can be written in {folder}; give another name")
    for target in targets:
        for source in pair.paths:
            if _same(_real(target), _real(source)):
                raise ValueError(f"{target} would take the place of the source {source}; give another name")


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
