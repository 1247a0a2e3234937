"""Finding the infrared and the visible folder of a data set in the layouts in which data sets are distributed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from util.images.advice import other_layout
from util.images.image_io import SUFFIXES
from util.images.named_datasets import TABLE_DATASETS, NamedDataset
from util.images.pairs import InputError

# Names of the two folders of pairs, in any case; where one infrared folder has several partners, the first counts.
SIDES = (
    ("ir", "vi"),  # this project, MSRS, M3FD, TNO
    ("ir", "vis"),  # M3FD as distributed
    ("ir", "visible"),
    ("infrared", "visible"),  # LLVIP
    ("infrared", "vis"),
    ("cropinfrared", "crop_lr_visible"),  # RoadScene: of the infrared's size
    ("cropinfrared", "crop_hr_visible"),  # RoadScene: larger
    ("ct", "mri"),  # Harvard
    ("pet", "mri"),
    ("spect", "mri"),
)

# Folders that hold a part of a data set, the part to be taken first. No part at all comes after "val".
PARTS = ("test", "m3fd_fusion", "val", "", "train", "detection", "m3fd_detection")

_DEPTH = 4  # levels below the root that are searched
_ORIGINAL_TNO = {"athena_images", "dhv_images", "fel_images", "triclobs_images"}


@dataclass(frozen=True)
class Dataset:
    """Two folders of images, ``ir`` (or CT, PET, SPECT) and ``vi`` (or MRI), paired by file name.

    ``note``: the choice that was made among several parts (test, train), to be shown; or empty.
    """

    name: str
    ir: Path
    vi: Path
    note: str = ""


class MissingDataset(InputError):
    """A data set that is not where it was looked for; the message says where to get it."""


@dataclass(frozen=True)
class _Candidate:
    """Two folders that fit; ``where`` holds the names of the folders between the root and the pair, parts too."""

    ir: Path
    vi: Path
    where: tuple[str, ...]

    @property
    def sides(self) -> tuple[str, str]:
        names = [side.name.lower() for side in (self.ir, self.vi)]
        if names[0] in PARTS:  # infrared/test
            names = [side.parent.name.lower() for side in (self.ir, self.vi)]
        return names[0], names[1]

    @property
    def part(self) -> str:
        return next((name.lower() for name in reversed(self.where) if name.lower() in PARTS), "")

    @property
    def whole(self) -> tuple[str, ...]:
        """The data set of which this may be a part."""
        return (*(name for name in self.where if name.lower() not in PARTS), *self.sides)

    def __str__(self) -> str:
        return f"{self.ir} and {self.vi}"


def find_dataset(root: Path) -> Dataset:
    """The pair of folders in ``root`` or below it, whatever their case, in any of the layouts of :data:`SIDES`.

    Of the parts of one data set the first of :data:`PARTS` is taken. Raises InputError, saying what was looked
    for, when there is none, and naming the choices when there are several.
    """
    candidates = _candidates(root)
    if not candidates:
        raise InputError(_nothing(root))
    return _choose(root.name, candidates, root)


def find_named(name: str, root: Path) -> Dataset:
    """The data set of that name (a key of :data:`TABLE_DATASETS`) in ``root`` or below it.

    Raises MissingDataset when it is not there, InputError when it is there several times.
    """
    known = TABLE_DATASETS[name]
    candidates = _candidates(root)
    fitting = [found for found in candidates if _is_named(known, found, found.where)]
    if not fitting:
        fitting = [found for found in candidates if _is_named(known, found, (root.resolve().name,))]
    if not fitting:
        raise MissingDataset(
            f"{name} is not in {root}: no folder with {' and '.join(sorted(known.words))} in its name holds a pair "
            f"of folders such as ir and vi; see {known.home}"
        )
    best = min(PARTS.index(found.part) for found in fitting)
    return _choose(name, fitting, root, best)


def _is_named(known: NamedDataset, found: _Candidate, folders: tuple[str, ...]) -> bool:
    if found.sides in known.sides:
        return True
    return any(known.words <= set(re.findall(r"[a-z0-9]+", folder.lower())) for folder in folders)


def _choose(name: str, candidates: list[_Candidate], root: Path, only_part: int | None = None) -> Dataset:
    """The one that remains when of every data set only its first part is kept. Raises InputError."""
    kept: dict[tuple[str, ...], _Candidate] = {}
    for found in sorted(candidates, key=lambda found: PARTS.index(found.part)):
        if only_part is None or PARTS.index(found.part) == only_part:
            kept.setdefault(found.whole, found)
    if len(kept) > 1:
        choices = "; ".join(str(found) for found in kept.values())
        raise InputError(f"{root} holds several data sets, name the one that is meant: {choices}")
    (taken,) = kept.values()
    others = [str(found.ir) for found in candidates if found is not taken]
    note = f"of several parts {taken.ir} is taken, not {', '.join(others)}" if others else ""
    return Dataset(name, taken.ir, taken.vi, note)


def _candidates(root: Path) -> list[_Candidate]:
    if not root.is_dir():
        raise InputError(f"{root} is not a folder")
    return list(_search(root, ()))


def _search(folder: Path, where: tuple[str, ...]) -> Iterator[_Candidate]:
    """Pairs in this folder or, if it holds none, below it; as deep as data sets go."""
    folders = _folders(folder)
    found = list(_pairs_in(folders, where))
    yield from found
    if found or len(where) == _DEPTH:
        return
    for below in folders:
        yield from _search(below, (*where, below.name))


def _pairs_in(folders: list[Path], where: tuple[str, ...]) -> Iterator[_Candidate]:
    taken: set[Path] = set()
    for ir_name, vi_name in SIDES:
        for ir in (path for path in folders if path.name.lower() == ir_name and path not in taken):
            for vi in (path for path in folders if path.name.lower() == vi_name):
                pairs = list(_parts_of(ir, vi, where))
                yield from pairs
                if pairs:
                    taken.add(ir)


def _parts_of(ir: Path, vi: Path, where: tuple[str, ...]) -> Iterator[_Candidate]:
    """The pair itself or, where the parts lie in the sides (LLVIP), each part."""
    if _holds_images(ir) and _holds_images(vi):
        yield _Candidate(ir, vi, where)
        return
    partners = {path.name.lower(): path for path in _folders(vi)}
    for part in _folders(ir):
        partner = partners.get(part.name.lower())
        if part.name.lower() in PARTS and partner and _holds_images(part) and _holds_images(partner):
            yield _Candidate(part, partner, (*where, part.name))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []  # not ours to read


def _holds_images(folder: Path) -> bool:
    try:
        return any(
            path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir()
        )
    except OSError:
        return False


def _nothing(root: Path) -> str:
    here = [path.name for path in _folders(root)]
    if _ORIGINAL_TNO & {name.lower() for name in here}:
        return (
            f"{root} is TNO's original folder tree, whose scenes name their files each in its own way; copy the "
            "thermal image of every scene to a folder ir and the visual one to a folder vi, under one name"
        )
    names = ", ".join(f"{ir} + {vi}" for ir, vi in SIDES)
    held = f"it holds the folders {', '.join(here[:12])}" if here else "it holds no folder"
    return (
        f"no pair of folders with images in {root} or in {_DEPTH} levels below ({held}); looked for {names}, in any "
        f"case, also in test, val and train{other_layout(root)}"
    )
