"""Finding pairs of files, and fitting images to the sizes that the network takes."""

from __future__ import annotations

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from util.images.image_io import SUFFIXES, ImageError, SourceImage, ValueRange, read_image, upright_size
from util.images.matching import BY_STEM, Listing, Matching, suggest

log = logging.getLogger("ddfm")

MULTIPLE = 32  # sides are fitted to multiples of this, as in the released code
FitMode = Literal["crop", "pad"]


class PairError(ValueError):
    """A pair that cannot be fused; the message names the files and says why and what to do."""


class InputError(ValueError):
    """Nothing can be fused at all: folders missing or empty."""


@dataclass(frozen=True)
class PairFiles:
    """The two files of one pair; ``stem`` names the results."""

    stem: str
    ir: Path
    vi: Path


@dataclass(frozen=True)
class Problem:
    """A pair that failed, and why."""

    stem: str
    reason: str


@dataclass(frozen=True, eq=False)
class Pair:
    """Two registered images of one scene, of the same size."""

    stem: str
    ir: SourceImage
    vi: SourceImage

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of both."""
        return self.ir.size


def find_pairs(ir: Path, vi: Path, *, matching: Matching = BY_STEM) -> tuple[list[PairFiles], list[Problem]]:
    """Pairs of files that match in the folders ``ir`` and ``vi``, in order of stem, or of name by a pattern.

    Files without partner and names with two files are problems of their own. Raises InputError when a folder
    is missing or holds no image, when no file has a partner, or when the files cannot be matched so.
    """
    folders = {"ir": ir, "vi": vi}
    listings = [images_by_stem(folder) for folder in folders.values()]
    sides = dict(zip(folders, match_files(matching, listings), strict=True))
    pairs: list[PairFiles] = []
    problems: list[Problem] = []
    for stem in sorted(set(sides["ir"]) | set(sides["vi"])):
        files = {side: sides[side].get(stem, []) for side in sides}
        several = [side for side in sides if len(files[side]) > 1]
        missing = [side for side in sides if not files[side]]
        if several:
            names = ", ".join(str(path) for path in files[several[0]])
            problems.append(Problem(stem, f"{names} {matching.twice}; keep one of them"))
        elif missing:
            present = "vi" if missing[0] == "ir" else "ir"
            lone, folder = files[present][0], folders[missing[0]]
            alike = [other for other in sides[missing[0]] if other.lower() == stem.lower()]
            hint = f", but {sides[missing[0]][alike[0]][0].name}: rename one of them" if alike else ""
            wanted = matching.expected(stem, list(folders).index(missing[0]))
            problems.append(Problem(stem, f"{lone} has no partner: {folder} holds no image {wanted}{hint}"))
        else:
            pairs.append(PairFiles(stem, files["ir"][0], files["vi"][0]))
    if not pairs:
        raise InputError(
            f"no pair to fuse: of the {len(sides['ir'])} names in {ir} and the {len(sides['vi'])} in {vi}, none is "
            f"there once in both. The first: {problems[0].reason}{suggest(listings)}"
        )
    lone = len(set(sides["ir"]) ^ set(sides["vi"]))
    hint = suggest(listings, more_than=len(pairs)) if lone else ""
    if hint:
        log.warning(f"{lone} images have no partner{hint}")
    return pairs, problems


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
            f"{folder} is not a folder; pairs are files of the same name in a folder ir and a folder vi "
            "(--input DIR, or --ir DIR --vi DIR)"
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
    ir_range: ValueRange | None = None,
    vi_range: ValueRange | None = None,
    max_pixels: int | None = None,
) -> Pair:
    """Read both files; the ranges are for images of more than 8 bits, larger images than ``max_pixels`` stay closed.

    Raises PairError when a file cannot be used, naming both if both can't, or when sizes differ or are below
    32 pixels.
    """
    images: list[SourceImage] = []
    errors: list[str] = []
    for path, value_range in ((files.ir, ir_range), (files.vi, vi_range)):
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
    pair = Pair(files.stem, *images)
    if pair.ir.size != pair.vi.size:
        (h1, w1), (h2, w2) = pair.ir.size, pair.vi.size
        raise PairError(
            f"{files.ir} is {w1}x{h1} and {files.vi} is {w2}x{h2}; register them to one size first"
        )
    if min(pair.size) < MULTIPLE:
        height, width = pair.size
        raise PairError(
            f"{files.ir} and {files.vi} are {width}x{height}; the smallest side possible is {MULTIPLE}"
        )
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
