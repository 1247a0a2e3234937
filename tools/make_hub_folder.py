"""Folders to be uploaded to a model hub: a prior each, with its weights, configurations, card and hashes.

python -m tools.make_hub_folder --out hub

makes hub/compact and hub/grey, all of it or nothing. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from guided_diffusion.config import DiffusionConfig, ModelConfig
from util.checkpoint.known import COMPACT_SHA256, GREY_SHA256
from util.config_io import read_yaml
from util.files import PART_PREFIX, file_sha256, project_root
from util.prior import read_config

DIFFUSION = "diffusion_config.yaml"


@dataclass(frozen=True)
class HubPrior:
    """What goes into the folder of one prior. ``card``: in ``models``; ``sha256``: that its weights must have."""

    weights: str
    config: str
    card: str
    sha256: str
    tags: tuple[str, ...]


PRIORS = {
    "compact": HubPrior("compact.pt", "model_config_compact.yaml", "README.md", COMPACT_SHA256, ("rgb",)),
    "grey": HubPrior(
        "compact_grey.pt", "model_config_grey.yaml", "compact_grey.md", GREY_SHA256, ("grayscale", "thermal")
    ),
}
_TAGS = ("diffusion", "ddpm", "image-fusion", "infrared", "medical-imaging", "denoising", "pytorch")


def front_matter(prior: HubPrior) -> dict[str, Any]:
    """The head of the card, in the keys that model hubs read."""
    return {
        # that of the code; whether weights inherit terms from photographs is not settled, as the card says
        "license": "other",
        "license_name": "mit-code-weights-for-research",
        "license_link": "LICENSE",
        "library_name": "ddfm",
        "pipeline_tag": "unconditional-image-generation",
        "tags": [*_TAGS, *prior.tags],
        "datasets": ["ILSVRC/imagenet-1k", "frgfm/imagenette"],
    }


def card(prior: HubPrior, root: Path) -> tuple[str, dict[str, Path]]:
    """The text of a card, and the pictures that it shows by their names in the folder.

    Pictures of the project's own card come along; its other links lead into the repository and become plain words.
    """
    pictures: dict[str, Path] = {}
    source = root / "models" / prior.card

    def follow(match: re.Match[str]) -> str:
        shown, words, target = match.groups()
        if not shown:
            return match[0] if re.match("[a-z]+:", target) else words
        path = (source.parent / target).resolve()
        name = f"pictures/{path.name}"
        if pictures.setdefault(name, path) != path:
            raise ValueError(f"{source}: two pictures are called {path.name}; rename one of them")
        return f"![{words}]({name})"

    body = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", follow, source.read_text(encoding="utf-8"))
    head = yaml.safe_dump(front_matter(prior), sort_keys=False)
    use = (
        "## Use\n\nIn a clone of DDFM, or with the package `ddfm` installed, from this folder:\n\n"
        f"```python\nfrom ddfm import fuse, open_prior\n\nprior = open_prior({prior.config!r})\n"
        'fuse(prior, ["ir.png", "vi.png"]).save("fused.png")\n```\n\n'
    )
    title, rest = body.split("\n\n", 1)
    first, sections = rest.split("\n## ", 1)
    return f"---\n{head}---\n{title}\n\n{first}\n{use}## {sections}", pictures


def write_folder(prior: HubPrior, folder: Path, root: Path) -> None:
    """Everything of one prior. Raises ValueError for weights that are not those of the card, OSError."""
    weights = root / "models" / prior.weights
    if (found := file_sha256(weights)) != prior.sha256:
        raise ValueError(f"{weights} has the sha256 {found}, but its card is about {prior.sha256}")
    text, pictures = card(prior, root)
    folder.mkdir()
    (folder / "README.md").write_text(text, encoding="utf-8")
    files = {
        prior.weights: weights,
        "LICENSE": root / "LICENSE",
        DIFFUSION: root / "configs" / DIFFUSION,
        **pictures,
    }
    for name, source in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / name)
    config = read_yaml(root / "configs" / prior.config) | {"model_path": prior.weights}
    (folder / prior.config).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    described = {
        "model_type": "ddfm-unet",
        "model": dataclasses.asdict(read_config(ModelConfig, folder / prior.config)),
        "diffusion": dataclasses.asdict(read_config(DiffusionConfig, folder / DIFFUSION)),
    }
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def make_hub_folder(out: Path, names: list[str], root: Path) -> list[Path]:
    """The folders of these priors below ``out``, which must not be there; all or none. Raises ValueError, OSError."""
    if out.exists():
        raise ValueError(f"{out} is there already; give another --out, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=out.parent))
    try:
        for name in names:
            write_folder(PRIORS[name], made / name, root)
        made.chmod(0o755)
        made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return [out / name for name in names]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools.make_hub_folder", description="Make the folders of a model hub."
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a folder that is not there yet"
    )
    parser.add_argument(
        "--priors", nargs="+", choices=list(PRIORS), default=list(PRIORS), help="(default: all)"
    )
    args = parser.parse_args(argv)
    try:
        for folder in make_hub_folder(args.out, args.priors, project_root()):
            print(folder)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
