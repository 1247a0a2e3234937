"""Finding pairs of files, and fitting images to the sizes that the network takes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from util.image_io import SUFFIXES, ImageError, SourceImage, read_image

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


def find_pairs(folder: Path) -> tuple[list[PairFiles], list[Problem]]:
    """Pairs of files with the same stem in ``folder/ir`` and ``folder/vi``, in order of stem.

    Files without partner and stems with two files are problems of their own. Raises InputError when a folder
    is missing or holds no image.
    """
    sides = {side: images_by_stem(folder / side) for side in ("ir", "vi")}
    pairs: list[PairFiles] = []
    problems: list[Problem] = []
    for stem in sorted(set(sides["ir"]) | set(sides["vi"])):
        files = {side: sides[side].get(stem, []) for side in sides}
        several = [side for side in sides if len(files[side]) > 1]
        missing = [side for side in sides if not files[side]]
        if several:
            names = ", ".join(str(path) for path in files[several[0]])
            problems.append(Problem(stem, f"{names} have the same stem; keep one of them"))
        elif missing:
            present = "vi" if missing[0] == "ir" else "ir"
            reason = (
                f"{files[present][0]} has no partner: {folder / missing[0]} holds no image called {stem}.*"
            )
            problems.append(Problem(stem, reason))
        else:
            pairs.append(PairFiles(stem, files["ir"][0], files["vi"][0]))
    return pairs, problems


def images_by_stem(folder: Path) -> dict[str, list[Path]]:
    """The image files in a folder. Raises InputError when it is missing or holds none."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder; pairs are files of the same name in a folder ir and a folder vi"
        )
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            found[path.stem].append(path)
    if not found:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return dict(found)


def load_pair(files: PairFiles) -> Pair:
    """Read both files. Raises PairError when one cannot be used, sizes differ or are below 32 pixels."""
    try:
        pair = Pair(files.stem, read_image(files.ir), read_image(files.vi))
    except ImageError as error:
        raise PairError(str(error)) from error
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
