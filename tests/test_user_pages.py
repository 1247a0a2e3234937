"""The pages for researchers, engineers and clinicians: their commands run in order, on small images and few steps."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import evaluate
import sample
from tests.conftest import make_pair
from tools.time_pages import USERS, page_of, steps
from util.page import command as page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name: the sample pairs, frames, slices, a data set; all of them small."""
    monkeypatch.chdir(tmp_path)
    for kind in ("ir", "vi"):
        (tmp_path / "input" / kind).mkdir(parents=True)
        for path in sorted((ROOT / "input" / kind).iterdir()):
            with Image.open(path) as image:
                image.crop((96, 96, 160, 160)).save(tmp_path / "input" / kind / path.name)
        shutil.copyfile(tmp_path / "input" / kind / "smoke.png", tmp_path / f"{kind}.png")
    for number in range(3):
        make_pair(tmp_path / "frames", f"{number}", (64, 96), "vi")
        thermal = tmp_path / f"frames/ir/{number}.png"
        with Image.open(thermal) as image:
            tifffile.imwrite(
                tmp_path / f"frames/ir/t{number}.tif", np.asarray(image).astype(np.uint16) + 7000
            )
        thermal.unlink()
    shutil.copytree(tmp_path / "input/ir", tmp_path / "brain/pet")
    shutil.copytree(tmp_path / "input/vi", tmp_path / "brain/mri")
    for stem in ("a", "b", "c"):
        make_pair(tmp_path / "data/RoadScene", stem, (64, 64), "vi")
    return tmp_path


def run(line: str) -> None:
    """One command of a page, in this process."""
    words = shlex.split(line)
    match words:
        case ["pip", "install", *rest]:
            assert all((ROOT / name).is_file() for name in rest if name != "-r")
        case ["python", "sample.py", *rest]:
            if "--input" not in rest and "--ir" not in rest:
                rest = [*rest, "--input", "input"]  # the small ones
            if "--preset" not in rest:
                rest = [*rest, "--steps", "2"]
            assert sample.main([*rest, "--device", "cpu", "--quiet"]) == 0
        case ["python", "evaluate.py", *rest]:
            if "--table" in rest:
                Path("few_steps.yaml").write_text("timestep_respacing: 2\n")
                rest = [*rest, "--diffusion_config", "few_steps.yaml"]
            assert evaluate.main(rest) == 0
        case ["python", "app.py", *rest]:
            page.parser().parse_args(rest)  # tests/util/page has it in a browser
        case ["python", "-m", module, *rest]:
            assert not importlib.import_module(module).main(rest)
        case _:
            pytest.fail(f"nothing runs {line!r}")


@pytest.mark.parametrize("user", USERS)
def test_every_command_runs(user: str, place: Path):
    found = list(steps(page_of(user).read_text(encoding="utf-8")))
    assert len(found) >= 3
    for _, language, command in found:
        if language == "python":
            exec(compile(command, user, "exec"), {"__name__": "__main__"})
        else:
            run(command)
    made = {
        "researcher": [
            "runs/local/recon/smoke.png",
            "scores.csv",
            "report.html",
            "tables",
            "mine.png",
        ],
        "engineer": [
            "fused/color/t0.png",
            "fused/color/t2.png",
            "one.png",
            "video/frames/000002.png",
            "clean/color/t0.png",
        ],
        "clinician": ["fused/color/mri_pet.png", "fused/recon/mri_ct.png"],
    }
    for name in made[user]:
        assert (place / name).stat().st_size > 0


@pytest.mark.parametrize("user", USERS)
def test_every_page_says_how_long_it_took(user: str):
    table = page_of(user).read_text(encoding="utf-8").split("## How long it took\n")[1]
    assert re.search(r"<!-- times -->\n(\|.*\n)+<!-- end -->\n", table)  # where tools.time_pages puts them
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows and all(re.search(r"\d+(\.\d+)? (ms|s|min)( a pair)? \|$", row) for row in rows)
