"""Folders of methods: which images belong together, what the sources are, in which settings the runs differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.evaluation.matched import match_folders
from util.evaluation.measuring import Job
from util.images.matching import BY_STEM, Matching
from util.images.pairs import InputError, Problem


def results_folder(folder: Path) -> Path:
    """Where the images of a method lie: ``folder`` itself or, for a results root of ``sample.py``, its ``recon``."""
    recon = folder / "recon"
    return recon if recon.is_dir() else folder


def method_folders(root: Path, ir: Path, vi: Path) -> dict[str, Path]:
    """The folders in ``root`` by name, a method each, but for those of the sources. Raises InputError for none."""
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder; --methods takes the folder that holds a folder for each method"
        )
    sources = {ir.resolve(), vi.resolve()}
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {path.name: path for path in folders if path.resolve() not in sources}
    if not found:
        raise InputError(f"{root} holds no folder of a method")
    return found


_ROLES = {"ir": "infrared", "vi": "visible", "infrared": "infrared", "vis": "visible", "visible": "visible"}
_ROLES |= {
    "cropinfrared": "infrared",
    "crop_lr_visible": "visible",
    "over": "over-exposed",
    "under": "under-exposed",
}
_ROLES |= {name.lower(): name for name in ("MRI", "PET", "CT", "SPECT")}


def source_names(ir: Path, vi: Path) -> tuple[str, str]:
    """What the images of the two folders are called: by the folders' names or, for ``ir`` and ``vi``, the name of
    the data set around them (MRI_PET: the second, MRI, lies in ``vi``); infrared and visible where no name tells.
    """
    names = [folder.resolve().name.lower() for folder in (ir, vi)]
    parts = re.split(r"[-_ ]", ir.resolve().parent.name)
    if names == ["ir", "vi"] and len(parts) == 2 and all(part.lower() in _ROLES for part in parts):
        return _ROLES[parts[1].lower()], _ROLES[parts[0].lower()]
    first, second = (_ROLES.get(name) for name in names)
    return (first, second) if first and second else ("infrared", "visible")


def differing_settings(methods: Mapping[str, Path]) -> list[str]:
    """A line for each setting in which the runs of ``sample.py`` among the methods differ, by their ``run.json``."""
    settings: dict[str, dict[str, Any]] = {}
    for name, folder in methods.items():
        for root in (folder, folder.parent):
            try:
                run = json.loads((root / "run.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            kept = {key: run.get(key) for key in ("fusion_config", "diffusion_config", "prior", "precision")}
            settings[name] = _flat(kept)
            break
    keys = dict.fromkeys(key for values in settings.values() for key in values)
    lines = []
    for key in keys:
        values = {name: of.get(key) for name, of in settings.items()}
        if len({json.dumps(value) for value in values.values()}) > 1:
            lines.append(f"{key}: {', '.join(f'{name} {value}' for name, value in values.items())}")
    return lines


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix: content}
    parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in content.items()]
    return {key: value for part in parts for key, value in part.items()}


def find_jobs(
    methods: Mapping[str, Path], ir: Path, vi: Path, common: bool = False, matching: Matching = BY_STEM
) -> tuple[list[Job], dict[str, list[Problem]]]:
    """A job for every pair of sources that a method has fused, and what is missing, by method or "sources".

    ``common``: only pairs that every method has; ``matching``: which files belong together, as
    :func:`~util.evaluation.matched.match_folders` takes it. Raises InputError when a folder is missing or holds no
    image, when files cannot be matched so, or when nothing is common to all.
    """
    sides = {f"method {name}": results_folder(path) for name, path in methods.items()}
    matched = match_folders(ir, vi, sides, matching)
    found = matched.files
    problems: dict[str, list[Problem]] = {}
    usable: dict[str, dict[str, Path]] = {}
    for side, files in found.items():
        owner = side.removeprefix("method ") if side in sides else "sources"
        usable[side] = {stem: paths[0] for stem, paths in files.items() if len(paths) == 1}
        doubled = [matched.doubled(stem, side) for stem in sorted(files) if len(files[stem]) > 1]
        problems.setdefault(owner, []).extend(doubled)
    for stem in sorted(found["ir"].keys() ^ found["vi"].keys()):
        side = "vi" if stem in found["ir"] else "ir"
        problems.setdefault("sources", []).append(matched.absent(stem, side))
    pairs = sorted(usable["ir"].keys() & usable["vi"].keys())
    for name in methods if not common else ():
        side = f"method {name}"
        lacking = [matched.absent(stem, side) for stem in pairs if stem not in found[side]]
        extra = sorted(found[side].keys() - found["ir"].keys() - found["vi"].keys())
        alone = [Problem(stem, f"{found[side][stem][0]} has no sources of its name") for stem in extra]
        problems.setdefault(name, []).extend(lacking + alone)
    if common:
        pairs = [stem for stem in pairs if all(stem in usable[side] for side in sides)]
        if not pairs:
            raise InputError("no image is in all folders: compare their file names, or leave --common out")
    jobs = []
    for stem in pairs:
        fused = {name: usable[f"method {name}"][stem] for name in methods if stem in usable[f"method {name}"]}
        if fused or not common:
            jobs.append(Job(stem, usable["ir"][stem], usable["vi"][stem], fused))
    return jobs, {name: found for name, found in problems.items() if found}
