"""Configuration files by name or path, whatever the working directory."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from util.files import project_root

Kind = Literal["fusion", "diffusion", "model"]

_CALLED: dict[Kind, str] = {
    "fusion": "fusion configuration",
    "diffusion": "diffusion configuration",
    "model": "prior",
}


def config_names(kind: Kind, root: Path | None = None) -> dict[str, Path]:
    """The configurations of one kind that come with the project, by name.

    NAME is ``configs/KIND_config_NAME.yaml``; ``KIND_config`` is the one without a name, and those of the paper's
    ablation have the names of their files. ``root``: the folder of the project.
    """
    folder, plain = (project_root() if root is None else root) / "configs", f"{kind}_config"
    files = sorted(folder.glob(f"{plain}*.yaml"))
    if kind == "fusion":
        files += sorted((folder / "ablation").glob("*.yaml"))
    return {path.stem.removeprefix(f"{plain}_"): path for path in files}


def find_config(kind: Kind, wanted: Path | str, root: Path | None = None) -> Path:
    """The file that is meant: a string without folder and suffix is a name, everything else a path.

    What is not in the working directory is looked for in the folder of the project, ``root``, and among its
    configurations. Raises ValueError that lists what there is and says what is nearest to ``wanted``.
    """
    root = project_root() if root is None else root
    names, path = config_names(kind, root), Path(wanted)
    if isinstance(wanted, str) and path.name == wanted and not path.suffix:
        found = names.get(wanted) or names.get(wanted.removeprefix(f"{kind}_config_"))
        if found is not None:
            return found
        raise ValueError(
            f"there is no {_CALLED[kind]} {wanted!r}; there are {', '.join(names)}, or a YAML file"
            f"{nearest(wanted, names)}"
        )
    shipped = next((file for file in names.values() if file.name == str(path)), root / path)
    for place in (path, shipped):
        if place.exists():
            return place
    raise ValueError(
        f"cannot read the configuration file {path}: it is not there; by name there are {', '.join(names)}"
        f"{nearest(path.stem.removeprefix(f'{kind}_config_'), names)}"
    )


def nearest(wanted: str, names: Iterable[str]) -> str:
    """The end of an error about an unknown name: what was probably meant, or nothing."""
    alike = difflib.get_close_matches(wanted, list(names), n=1)
    return f"; did you mean {alike[0]}?" if alike else ""
