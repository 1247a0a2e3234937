"""What to say of folders in which there are no pairs, and of sources that seem to be in each other's place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from util.configs import nearest
from util.images.image_io import SUFFIXES

# Words in names of folders and files. A pair's first image is infrared, CT, PET or SPECT.
FIRST = frozenset({"ir", "infrared", "thermal", "lwir", "mwir", "swir", "nir", "tir", "ct", "pet", "spect"})
SECOND = frozenset({"vi", "vis", "visible", "visual", "rgb", "color", "colour", "mri", "mr", "photo"})

_MOST_NAMED = 12


def missing_folder(folder: Path) -> str:
    """Why a path is no folder, with what is there in its place: the beginning of an error."""
    for place in (*reversed(folder.parents), folder):
        if place.is_dir():
            continue
        why = f"{place} is a file" if place.exists() else _not_there(place)
        return f"{folder} is not a folder: {why}"
    return f"{folder} is not a folder"  # it was none a moment ago


def _not_there(path: Path) -> str:
    names = sorted(each.name for each in path.absolute().parent.iterdir() if each.is_dir())
    said = f"{path} is not there{nearest(path.name, names)}"
    return said if "did you mean" in said or not names else f"{said}; beside it: {_listed(names)}"


def other_layout(root: Path) -> str:
    """How pairs in ``root`` could be named though its folders have other names: the end of an error, or nothing."""
    if not root.is_dir():
        return ""
    if _holds_images(root):
        return (
            f"; {root} holds images itself: give the folder that holds both folders of images, or name them, --ir "
            "DIR --vi DIR"
        )
    full = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and _holds_images(folder)]
    if len(full) != 2:
        return ""
    ir, vi = full
    if _words(vi.name) & FIRST or _words(ir.name) & SECOND:
        ir, vi = vi, ir
    known = _words(ir.name) & FIRST or _words(vi.name) & SECOND
    return f"; name its two folders: --ir {ir} --vi {vi}" + ("" if known else ", infrared first")


def swapped(ir: Path, vi: Path) -> bool:
    """Whether two folders, or files, say by their names that each is what the other is taken for."""
    first, second = _words(ir.stem), _words(vi.stem)
    taken = first & SECOND and not first & FIRST
    return bool(taken and second & FIRST and not second & SECOND)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (" and others" if len(names) > _MOST_NAMED else "")
