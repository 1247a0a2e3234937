"""Which fused image belongs to which pair of sources, by the rules that ``sample.py`` pairs sources by."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from util.images.matching import BY_STEM, Listing, Matching, suggest
from util.images.pairs import InputError, Problem, images_by_stem, match_files

Named = dict[str, list[Path]]
"""The files of a folder by the name of their pair; several where that is not certain."""

SOURCES = ("ir", "vi")

log = logging.getLogger("ddfm")


@dataclass(frozen=True)
class Matched:
    """The files of the sources, ``ir`` and ``vi``, and of each folder of fused images, by the name of the pair."""

    folders: Mapping[str, Path]
    files: Mapping[str, Named]
    matching: Matching = BY_STEM

    def absent(self, name: str, *sides: str) -> Problem:
        """The problem of a pair that lacks a file in these folders."""
        where: dict[str, list[str]] = {}
        for side in sides:
            where.setdefault(self._expected(name, side), []).append(str(self.folders[side]))
        parts = [f"{expected} in {' and '.join(folders)}" for expected, folders in where.items()]
        return Problem(name, f"there is no {' and no '.join(parts)}")

    def doubled(self, name: str, side: str) -> Problem:
        """The problem of a pair that has several files in a folder."""
        paths = ", ".join(str(path) for path in self.files[side][name])
        why = self.matching.twice if self._place(side) < len(self.matching.patterns) else BY_STEM.twice
        return Problem(name, f"{paths} {why}; keep one of them")

    def _expected(self, name: str, side: str) -> str:
        place = self._place(side)
        return self.matching.expected(name, place) if place < len(self.matching.patterns) else f"{name}.*"

    def _place(self, side: str) -> int:
        return SOURCES.index(side) if side in SOURCES else len(SOURCES)


def match_folders(ir: Path, vi: Path, fused: Mapping[str, Path], matching: Matching = BY_STEM) -> Matched:
    """The files of all folders by name of the pair. ``fused``: by any names but ir and vi.

    Sources are paired by ``matching``. Fused images have the names that ``sample.py`` gives: the stem, that of the
    first source when matched by place, what the star of a pattern stands for. They may also match as sources do: by
    a third pattern, or by place where they have other names. Raises InputError when a folder is missing or holds no
    image, or when files cannot be matched so.
    """
    rules = matching.patterns
    if len(rules) > 3:
        raise InputError(
            f"{matching.text!r} has {len(rules)} patterns: give one for each source and, where the fused images are "
            "not called by the star, one for them"
        )
    folders = {"ir": ir, "vi": vi, **fused}
    listings: dict[str, Listing] = {side: images_by_stem(folder) for side, folder in folders.items()}
    pair = [listings[side] for side in SOURCES]
    files: dict[str, Named] = dict(
        zip(SOURCES, match_files(replace(matching, patterns=rules[:2]), pair), strict=True)
    )
    for side in fused:
        by_name = {name: list(paths) for name, paths in listings[side].items()}
        if len(rules) == 3:
            files[side] = match_files(replace(matching, patterns=rules[2:]), [listings[side]])[0]
        elif matching.text == "index" and not by_name.keys() <= files["ir"].keys():
            files[side] = match_files(matching, [pair[0], listings[side]])[1]
        else:
            files[side] = by_name
    common = files["ir"].keys() & files["vi"].keys()
    strange = [side for side in fused if not common & files[side].keys()]
    if strange and (hint := suggest([*pair, listings[strange[0]]])):
        log.warning(f"no image of {folders[strange[0]]} has two sources of its name{hint}")
    return Matched(folders, files, matching)
