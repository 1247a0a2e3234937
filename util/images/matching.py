"""Which files of several folders belong together: those of one stem, those at one place, or those of one pattern."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from util.images.image_io import SUFFIXES

Listing = Mapping[str, Sequence[Path]]
"""The files of a folder by name; files that share one are listed together."""

FORMS = "stem, index, or a pattern for each folder such as 'thermal_*=rgb_*'"

_MOST_TRIED = 200  # names of a folder that are looked at for a suggestion
_MOST_WEIGHED = 20  # patterns that are tried on all names


@dataclass(frozen=True)
class Matching:
    """A rule by which files of several folders are matched; :func:`parse_matching` makes one.

    ``patterns``: for each folder, with stars; empty: by stem or, with ``index``, by place in natural order.
    """

    text: str = "stem"
    patterns: tuple[str, ...] = ()

    def match(self, listings: Sequence[Listing]) -> Matches:
        """Sort the files of each folder by the name of the result to which they belong.

        Raises ValueError when there are not as many patterns as folders, when stars may stand for different things in
        a name, or when folders that are matched by place do not hold as many files each.
        """
        if self.text == "index":
            return Matches(_by_place(listings))
        if not self.patterns:
            return Matches([{stem: list(files) for stem, files in listing.items()} for listing in listings])
        if len(self.patterns) != len(listings):
            raise ValueError(
                f"{self.text!r} has {len(self.patterns)} patterns, but there are {len(listings)} folders"
            )
        parts = [_Pattern(text) for text in self.patterns]
        named = [part.names(_files(listing)) for part, listing in zip(parts, listings, strict=True)]
        used = {path for names in named for files in names.values() for path in files}
        left = dict.fromkeys(path for listing in listings for path in _files(listing) if path not in used)
        return Matches(named, list(left))

    @property
    def twice(self) -> str:
        """What is said of two files of one folder that belong to one result."""
        return f"both fit {self.text!r}" if self.patterns else "have the same stem"

    def expected(self, name: str, place: int) -> str:
        """What the file of a result is called in the folder of that place."""
        if not self.patterns:
            return f"{name}.*"
        pattern = self.patterns[place]
        return pattern.replace("*", name) if pattern.count("*") == 1 else f"{pattern} for {name}"


BY_STEM = Matching()


@dataclass(frozen=True)
class Matches:
    """The files of each folder by the name of the result; ``left``: files that no pattern fits."""

    sides: list[dict[str, list[Path]]]
    left: list[Path] = field(default_factory=list)


def parse_matching(text: str) -> Matching:
    """``stem``, ``index``, or a pattern for each folder. Raises ValueError that says what there is."""
    if text in ("stem", "index"):
        return Matching(text)
    parts = tuple(part.strip() for part in text.split("="))
    if len(parts) < 2 or not all("*" in part for part in parts):
        raise ValueError(f"{text!r} does not say how names match: give {FORMS}")
    if len({part.count("*") for part in parts}) > 1 or any("**" in part or "/" in part for part in parts):
        raise ValueError(
            f"{text!r}: patterns are of names, not of paths, and all have as many stars, no two side by side"
        )
    return Matching(text, parts)


class _Pattern:
    """A name with stars, of a stem or, if it ends in a suffix, of a whole name."""

    def __init__(self, text: str) -> None:
        self.text = unicodedata.normalize("NFC", text)
        self.whole = Path(self.text).suffix.lower() in SUFFIXES
        pieces = [re.escape(piece) for piece in self.text.split("*")]
        self.greedy, self.lazy = (re.compile(star.join(pieces)) for star in ("(.+)", "(.+?)"))

    def names(self, files: Iterable[Path]) -> dict[str, list[Path]]:
        """The files that it fits, by what the stars stand for. Raises ValueError if that is not certain."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            name = unicodedata.normalize("NFC", path.name if self.whole else path.stem)
            most, least = self.greedy.fullmatch(name), self.lazy.fullmatch(name)
            if most is None or least is None:
                continue
            # the first star as long and as short as can be, then the next: alike only if there is one way
            if most.groups() != least.groups():
                raise ValueError(f"{path}: the stars of {self.text!r} fit its name in more than one way")
            found["_".join(most.groups())].append(path)
        return dict(found)


def _files(listing: Listing) -> list[Path]:
    return [path for files in listing.values() for path in files]


def _by_place(listings: Sequence[Listing]) -> list[dict[str, list[Path]]]:
    """Files of the same place, with the stem in the first folder as their name."""
    ordered = [sorted(_files(listing), key=lambda path: _natural(path.name)) for listing in listings]
    counts = [len(files) for files in ordered]
    if len(set(counts)) > 1:
        where = ", ".join(f"{files[0].parent} has {len(files)}" for files in ordered if files)
        raise ValueError(f"matching by index needs folders with as many images each, but {where}")
    stems = [unicodedata.normalize("NFC", path.stem) for path in ordered[0]]
    sides: list[dict[str, list[Path]]] = [defaultdict(list) for _ in ordered]
    for side, files in zip(sides, ordered, strict=True):
        for stem, path in zip(stems, files, strict=True):
            side[stem].append(path)
    return [dict(side) for side in sides]


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """So that 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", unicodedata.normalize("NFC", name).lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def suggest(listings: Sequence[Listing], more_than: int = 0) -> str:
    """A pattern that pairs most files, with their number, or ``index``, or nothing: the end of a message.

    ``more_than``: as many are paired already, so a pattern must pair more, and the order is not thought of.

    Names are compared by their words, numbers and separators: what they have in common at both ends becomes stars.
    """
    if len(listings) < 2:
        return ""
    choices = [_alternatives(list(listings[0]), list(listing)) for listing in listings[1:]]
    best, most = "", 0
    for first in set(choices[0]).intersection(*choices[1:]):
        matching = Matching(patterns=(first, *(choice[first] for choice in choices)))
        try:
            sides = matching.match(listings).sides
        except ValueError:
            continue
        shared = set(sides[0]).intersection(*sides[1:])
        count = sum(all(len(side[name]) == 1 for side in sides) for name in shared)
        text = "=".join(matching.patterns)
        if (count, -len(text), text) > (most, -len(best), best):
            best, most = text, count
    smallest = min(len(listing) for listing in listings)
    if most >= min(2, smallest) > 0 and most > more_than:
        return f"; --match '{best}' would pair {most}"
    if not more_than and len({len(_files(listing)) for listing in listings}) == 1:
        return "; if they belong together in their order, give --match index"
    return ""


def _alternatives(ones: list[str], others: list[str]) -> dict[str, str]:
    """Patterns for the first names, each with the one for the others that goes with it most often."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in islice(ones, _MOST_TRIED):
        words = _words(one)
        for other in islice(others, _MOST_TRIED):
            found = _difference(words, _words(other))
            if found is not None:
                counts[found] += 1
    chosen: dict[str, str] = {}
    for (first, second), _ in counts.most_common(_MOST_WEIGHED):
        chosen.setdefault(first, second)
    return chosen


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+|[\W_]", name)


def _difference(one: list[str], other: list[str]) -> tuple[str, str] | None:
    """Patterns of two names that begin or end alike, but are not the same; None if they do not or are."""
    before = 0
    while before < min(len(one), len(other)) and one[before] == other[before]:
        before += 1
    after = 0
    while after < min(len(one), len(other)) - before and one[-1 - after] == other[-1 - after]:
        after += 1
    rest = [words[before : len(words) - after] for words in (one, other)]
    if not before + after or not rest[0] + rest[1]:
        return None
    begin, end = one[:before], one[len(one) - after :]
    # separators beside what differs belong to it, unless nothing would be left for the star
    left = begin.pop() if len(begin) > 1 and not begin[-1].isalnum() else ""
    right = end.pop(0) if len(end) > 1 and not end[0].isalnum() else ""
    first, second = ("*" * bool(begin) + left + "".join(words) + right + "*" * bool(end) for words in rest)
    return first, second
