"""Finding pairs of files, and fitting images to the sizes that the network takes.

A pair has two sources, ``ir`` and ``vi``. Where more folders are given, it is a group of up to :data:`MOST` sources.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from util.images.advice import missing_folder
from util.images.image_io import SUFFIXES, ImageError, SourceImage, ValueRange, read_image, upright_size
from util.images.matching import BY_STEM, Listing, Matching, suggest

log = logging.getLogger("ddfm")

MOST = 8  # sources of a group
MULTIPLE = 32  # sides are fitted to multiples of this, as in the released code
FitMode = Literal["crop", "pad"]


class PairError(ValueError):
    """A pair that cannot be fused; the message names the files and says why and what to do."""


class InputError(ValueError):
    """Nothing can be fused at all: folders missing or empty."""


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair, or group, in the order of their folders; ``stem`` names the results."""

    stem: str
    paths: tuple[Path, ...]

    @property
    def ir(self) -> Path:
        """The first."""
        return self.paths[0]

    @property
    def vi(self) -> Path:
        """The second."""
        return self.paths[1]


@dataclass(frozen=True)
class Problem:
    """A pair that failed, and why."""

    stem: str
    reason: str


@dataclass(frozen=True, eq=False)
class Pair:
    """Images of one scene in the order of their folders, registered and of one size.

    ``registrations``: how the others were brought onto the last, if they were to be.
    """

    stem: str
    sources: tuple[SourceImage, ...]
    registrations: tuple[dict[str, Any], ...] = ()

    @property
    def ir(self) -> SourceImage:
        """The first."""
        return self.sources[0]

    @property
    def vi(self) -> SourceImage:
        """The second."""
        return self.sources[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of each; of the last, where they are not registered yet."""
        return self.sources[-1].size


def source_names(count: int) -> list[str]:
    """What the sources of a pair, or group, are called in messages and records: ir and vi, or 1, 2, 3 ..."""
    return ["ir", "vi"] if count == 2 else [str(number) for number in range(1, count + 1)]


def find_pairs(*folders: Path, matching: Matching = BY_STEM) -> tuple[list[PairFiles], list[Problem]]:
    """Files that match in all of two or more folders, in order of stem, or of name by a pattern.

    Files without partner and names with two files are problems of their own. Raises InputError when a folder
    is missing or holds no image, when no file has its partners, or when the files cannot be matched so.
    """
    listings = [images_by_stem(folder) for folder in folders]
    sides = match_files(matching, listings)
    pairs: list[PairFiles] = []
    problems: list[Problem] = []
    for stem in sorted(set().union(*sides)):
        files = [side.get(stem, []) for side in sides]
        several = [found for found in files if len(found) > 1]
        missing = [place for place, found in enumerate(files) if not found]
        if several:
            names = ", ".join(str(path) for path in several[0])
            problems.append(Problem(stem, f"{names} {matching.twice}; keep one of them"))
        elif missing:
            lone = next(found[0] for found in files if found)
            where = [f"{folders[place]} holds no image {matching.expected(stem, place)}" for place in missing]
            others = (
                path[0] for place in missing for other, path in sides[place].items() if _alike(other, stem)
            )
            hint = next((f", but {other.name}: rename one of them" for other in others), "")
            problems.append(Problem(stem, f"{lone} has no partner: {' and '.join(where)}{hint}"))
        else:
            pairs.append(PairFiles(stem, tuple(found[0] for found in files)))
    if not pairs:
        counts = [f"the {len(side)} names in {folder}" for side, folder in zip(sides, folders, strict=True)]
        raise InputError(
            f"no pair to fuse: of {listed(counts)}, none is there once in {'both' if len(sides) == 2 else 'all'}. "
            f"The first: {problems[0].reason}{suggest(listings)}"
        )
    lone = len(set().union(*sides)) - len(set(sides[0]).intersection(*sides[1:]))
    hint = suggest(listings, more_than=len(pairs)) if lone else ""
    if hint:
        log.warning(f"{lone} images have no partner{hint}")
    return pairs, problems


def _alike(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def listed(words: Sequence[str]) -> str:
    """Two words or more as a sentence has them: a, b and c."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


def match_files(matching: Matching, listings: Sequence[Listing]) -> list[dict[str, list[Path]]]:
    """The files of each folder by the name of the pair; says which no pattern fits. Raises InputError."""
    try:
        matches = matching.match(listings)
    except ValueError as error:
        raise InputError(str(error)) from error
    for place, (side, listing) in enumerate(zip(matches.sides, listings, strict=True)):
        if not side:
            first = next(iter(listing.values()))[0]
            raise InputError(
                f"no image of {first.parent} fits {matching.patterns[place]!r}, its first is {first.name}"
                f"{suggest(listings)}"
            )
    if matches.left:
        log.warning(
            f"{len(matches.left)} images fit no pattern of {matching.text!r}, the first is {matches.left[0]}"
        )
    return matches.sides


def images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The image files in a folder, by stem in Unicode's composed form (NFC); hidden files are passed over.

    Raises InputError when the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise InputError(
            f"{missing_folder(folder)}; pairs are files of the same name in a folder ir and a folder vi "
            "(--input DIR, or --ir DIR --vi DIR, or --sources DIR DIR ...)"
        )
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            found[unicodedata.normalize("NFC", path.stem)].append(path)
    if not found:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return dict(found)


def in_order_of_size(pairs: list[PairFiles], mode: FitMode) -> list[PairFiles]:
    """The pairs from the smallest to the largest by the headers of their files, those of one size together."""
    sizes = [upright_size(files.vi) or (0, 0) for files in pairs]
    fitted = [fitted_size(size, mode) for size in sizes]
    order = sorted(range(len(pairs)), key=lambda index: (fitted[index][0] * fitted[index][1], fitted[index]))
    return [pairs[index] for index in order]


def load_pair(
    files: PairFiles,
    ranges: Sequence[ValueRange | None] | None = None,
    max_pixels: int | None = None,
    one_size: bool = True,
) -> Pair:
    """Read all files; the ranges are for images of more than 8 bits, larger images than ``max_pixels`` stay closed.

    ``ranges``: one for each file (None: none). Raises PairError when a file cannot be used, naming every such file,
    when sizes are below 32 pixels or, unless ``one_size`` is false, differ.
    """
    images: list[SourceImage] = []
    errors: list[str] = []
    for path, value_range in zip(files.paths, ranges or [None] * len(files.paths), strict=True):
        try:
            image = read_image(path, value_range, max_pixels)
            if image.luma.min() == image.luma.max():
                raise ImageError(
                    f"{path}: all its pixels look the same, there is nothing to fuse; leave it out"
                )
            images.append(image)
        except ImageError as error:
            errors.append(str(error))
    if errors:
        raise PairError("; and ".join(errors))
    pair = Pair(files.stem, tuple(images))
    if one_size and any(image.size != pair.size for image in images):
        sizes = [f"{image.path} is {image.size[1]}x{image.size[0]}" for image in images]
        raise PairError(f"{listed(sizes)}; register them to one size first, or let --register auto do it")
    small = [image for image in images if min(image.size) < MULTIPLE]
    if small:
        names = listed([str(path) for path in files.paths]) if one_size else str(small[0].path)
        height, width = small[0].size
        raise PairError(f"{names} are {width}x{height}; the smallest side possible is {MULTIPLE}")
    return pair


def fitted_size(size: tuple[int, int], mode: FitMode) -> tuple[int, int]:
    """Height and width that the network sees: rounded down (``crop``) or up (``pad``) to multiples of 32."""
    extra = MULTIPLE - 1 if mode == "pad" else 0
    height, width = ((side + extra) // MULTIPLE * MULTIPLE for side in size)
    return height, width


def fit(plane: np.ndarray, mode: FitMode) -> np.ndarray:
    """Fit an (H, W) or (H, W, 3) image: cut off, or reflect, at the bottom and on the right.

    Cutting at the same edges means that both modes see the same pixels on the same grid.
    """
    height, width = fitted_size((plane.shape[0], plane.shape[1]), mode)
    if mode == "crop":
        return plane[:height, :width]
    padding = [(0, height - plane.shape[0]), (0, width - plane.shape[1])] + [(0, 0)] * (plane.ndim - 2)
    return np.pad(plane, padding, mode="reflect")


def output_size(size: tuple[int, int], mode: FitMode) -> tuple[int, int]:
    """Height and width of the result of a pair of this size: cropped, or the same."""
    return fitted_size(size, mode) if mode == "crop" else size
