"""The Python examples of README.md and docs/api.md run as they stand, each for itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs/api.md"]
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    )
]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name: ir.png, vi.png and a folder of pairs, cut small from a sample pair."""
    monkeypatch.chdir(tmp_path)
    for kind in ("ir", "vi"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        (source,) = (ROOT / "input" / kind).glob("smoke.*")
        with Image.open(source) as image:
            image.crop((100, 100, 132, 132)).save(tmp_path / f"{kind}.png")
            image.crop((100, 100, 164, 164)).save(tmp_path / "pairs" / kind / "a.png")
    return tmp_path


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code: str, scene: Path):
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    for name in re.findall(r'save\("(.+?)"\)', code):
        with Image.open(scene / name) as image:
            assert image.size == (32, 32) and np.asarray(image).std() > 1
