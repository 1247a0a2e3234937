"""README and docs say what is there: links, commands, paths, flags, keys and counts."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from guided_diffusion.config import ModelConfig
from tests.util.images.test_odd_inputs import BAD, ODD
from util.evaluation.metrics import ALL_METRICS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "models/README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "benchmarks|configs|ddfm|docs|guided_diffusion|models|tests|tools|util"
TORCHRUN = {"--standalone", "--nproc-per-node", "--nproc_per_node", "--nnodes", "--rdzv-endpoint"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code, indented or fenced, in which brackets are no links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ {4,}.*$", "", text, flags=re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings: lower case, no punctuation, hyphens for spaces, repeats numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", prose(page), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@each_page
def test_links_lead_somewhere(page: Path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert not broken


@each_page
def test_commands_exist(page: Path):
    text = page.read_text()
    modules = set(re.findall(r"(?<!\S)-m ([a-z_]\w*(?:\.\w+)*)", text))
    scripts = set(re.findall(r"(?<![\w/.])(\w+\.py)\b", text))
    assert not {name for name in modules if importlib.util.find_spec(name) is None}
    assert not {name for name in scripts if not (ROOT / name).is_file()}


@each_page
def test_paths_exist(page: Path):
    paths = set(re.findall(rf"(?<![\w/.:~-])((?:{FOLDERS})/[\w./*-]*\w)", page.read_text()))
    assert not {path for path in paths if not any(ROOT.glob(path))}


@cache
def known_flags() -> frozenset[str]:
    """Every flag that a command of this repository defines, as a quoted word of its source."""
    sources = [ROOT / "sample.py", ROOT / "evaluate.py"]
    sources += [path for name in ("benchmarks", "tools", "util") for path in (ROOT / name).rglob("*.py")]
    flags = {flag for path in sources for flag in re.findall(r"[\"'](--\w[\w-]*)[\"']", path.read_text())}
    return frozenset(flags | {f"--no-{flag[2:]}" for flag in flags} | TORCHRUN | {"--help", "--version"})


@each_page
def test_flags_exist(page: Path):
    assert not set(re.findall(r"(?<![\w-])--[a-z][\w-]*", page.read_text())) - known_flags()


def keys_of(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every key with its value, those of mappings inside dotted."""
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        found |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def documented(section: str) -> list[list[str]]:
    """The rows of the table below a heading of docs/configuration.md, each a list of cells."""
    text = (ROOT / "docs/configuration.md").read_text().split(f"\n## `{section}`\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line[:3] == "| `"
    ]


@pytest.mark.parametrize("section", ["diffusion_config.yaml", "fusion_config.yaml"])
def test_keys_and_their_defaults(section: str):
    said: dict[str, Any] = {}
    for keys, defaults, *_ in documented(section):
        names = re.findall(r"`([^`]+)`", keys)
        values = [yaml.safe_load(value) for value in re.findall(r"`([^`]+)`", defaults)]
        said |= zip(names, values * len(names) if len(values) == 1 else values, strict=True)
    assert said == keys_of(yaml.safe_load((ROOT / "configs" / section).read_text()))


def test_keys_of_the_model():
    said = [name for keys, *_ in documented("model_config_*.yaml") for name in re.findall(r"`([^`]+)`", keys)]
    assert sorted(said) == sorted(field.name for field in dataclasses.fields(ModelConfig))


def test_every_metric_is_on_its_page():
    text = (ROOT / "docs/metrics.md").read_text()
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    said = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(said) == sorted(ALL_METRICS)


def test_the_count_of_odd_inputs():
    (count,) = re.findall(r"has (\d+) odd and bad inputs", (ROOT / "docs/datasets.md").read_text())
    assert int(count) == len(ODD) + len(BAD)


def test_the_two_commands_are_the_first_two_blocks():
    """.ci/run takes them from there."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert blocks[:2] == [
        "pip install -r requirements.txt && python sample.py\n",
        "pip install -r requirements-dev.txt && pytest\n",
    ]
