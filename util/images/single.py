"""Images that are named one by one, not by their folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from util.images.image_io import SUFFIXES
from util.images.pairs import InputError, PairFiles


def given_files(sources: Sequence[Path | None]) -> PairFiles | None:
    """The sources as one pair if they are image files, None if they are folders or not given.

    Its result has the stem that all share or, where there is none, all stems joined by ``_``. Raises InputError where
    some are files and others are not, or a file is not there.
    """
    files = [path for path in sources if path is not None and _is_image(path)]
    if not files:
        return None
    others = [path for path in sources if path not in files]
    if others:
        other = f"{others[0]} is none" if others[0] else "its partner is not given"
        raise InputError(
            f"{files[0]} is a file, but {other}: give files for --ir and --vi, or folders for both"
        )
    for path in files:
        if not path.exists():
            raise InputError(f"{path} is not there")
    stems = dict.fromkeys(unicodedata.normalize("NFC", path.stem) for path in files)
    return PairFiles("_".join(stems), tuple(files))


def _is_image(path: Path) -> bool:
    return path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir())
