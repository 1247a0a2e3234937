"""Results in the places of their sources: a copy of a data set whose labels stay valid."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from util.images.image_io import SUFFIXES
from util.images.layouts import PARTS, SIDES
from util.images.pairs import PairFiles

Side = Literal["vi", "ir"]
OUT_SIDES: tuple[Side, ...] = ("vi", "ir")

_OF_IMAGES = {name for side in SIDES for name in side} | set(PARTS)


@dataclass(frozen=True)
class OutLayout:
    """Fused images below ``folder``, each under the path that its source of ``side`` has below ``root``."""

    root: Path
    side: Side
    folder: Path

    @classmethod
    def of(cls, pairs: Sequence[PairFiles], given: Path, side: Side, folder: Path) -> OutLayout:
        """``given``: the folder of the data set, if the sources lie in it; else the one that holds both is."""
        sources = [_absolute(path.parent) for path in pairs[0].paths]
        root = _absolute(given)
        if not all(source.is_relative_to(root) for source in sources):
            root = Path(os.path.commonpath(sources))
            root = root.parent if root in sources else root  # both kinds in one folder
        return cls(root, side, folder)

    def source(self, files: PairFiles) -> Path:
        """The source whose place the result of a pair takes."""
        return files.vi if self.side == "vi" else files.ir

    def path(self, files: PairFiles) -> Path:
        """Where the result of a pair goes: its source's folders, name and suffix."""
        return self._below(self.source(files))

    def _below(self, path: Path) -> Path:
        return self.folder / _absolute(path).relative_to(self.root)

    def link_labels(self, files: PairFiles) -> None:
        """Link what lies in the data set around the sources, but no images of either kind. Raises OSError.

        That is every file and folder beside the folders of the sources and above, such as ``Annotations``, and every
        file but images beside the sources whose place the results take. Where links cannot be, these are copies.
        """
        for entry in self._labels([_absolute(path.parent) for path in files.paths], files):
            target = self._below(entry)
            if target.is_symlink() or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.symlink_to(entry, target_is_directory=entry.is_dir())
            except OSError:  # not every system lets everybody
                if entry.is_dir():
                    shutil.copytree(entry, target)
                else:
                    shutil.copy2(entry, target)

    def _labels(self, sources: list[Path], files: PairFiles) -> Iterator[Path]:
        own = _absolute(self.source(files).parent)
        ways = {
            way for source in sources for way in (source, *source.parents) if way.is_relative_to(self.root)
        }
        results = _absolute(self.folder)
        for folder in sorted(ways):
            if folder in sources and folder != own:
                continue
            for entry in sorted(folder.iterdir()):
                ours = results == entry or results.is_relative_to(entry)
                if entry in ways or ours or entry.name.startswith("."):
                    continue
                images = entry.name.lower() in _OF_IMAGES if entry.is_dir() else _is_image(entry)
                if not images:
                    yield entry


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay what they are
