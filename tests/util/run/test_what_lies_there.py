"""What lies in the output folder before a run: results that are complete or not, and things that are no results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import sample
from tests import odd_files as odd
from tests.conftest import PriorFiles, make_pair

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, tiny_prior: PriorFiles) -> Run:
    """Runs sample.py on two pairs with three steps."""
    for stem in ("a", "b"):
        make_pair(tmp_path / "input", stem, colour="vi")
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 3\n")

    def run(*more: str, **fusion: Any) -> int:
        (tmp_path / "fusion.yaml").write_text(yaml.safe_dump(fusion))
        given = {
            "--model_config": tiny_prior.config,
            "--diffusion_config": tmp_path / "diffusion.yaml",
            "--fusion_config": tmp_path / "fusion.yaml",
            "--input": tmp_path / "input",
            "--save_dir": tmp_path / "output",
            "--device": "cpu",
        }
        return sample.main([*(str(part) for item in given.items() for part in item), *more])

    return run


def counts(tmp_path: Path) -> dict[str, int]:
    return json.loads((tmp_path / "output/run.json").read_text())["counts"]


@pytest.mark.parametrize(
    "fusion", [{}, {"prior": False}, {"warm_start": 700}], ids=["prior", "EM alone", "warm"]
)
def test_steps_that_are_asked_for_are_recorded(fusion: dict[str, Any], run: Run, tmp_path: Path):
    """Of finished pairs too; of all that lack one; and not again where all are there."""
    assert run(**fusion) == 0
    assert run("--record", **fusion) == 0
    assert counts(tmp_path) == {"done": 2, "skipped": 0, "failed": 0}
    frames = sorted((tmp_path / "output/progress/a").iterdir())
    assert frames and all(Image.open(path).size for path in frames)
    assert run("--record", **fusion) == 0 and counts(tmp_path)["skipped"] == 2
    assert run(**fusion) == 0 and counts(tmp_path)["skipped"] == 2
    frames[-1].unlink()  # as after a kill in the middle of it
    assert run("--record", **fusion) == 0
    assert counts(tmp_path) == {"done": 1, "skipped": 1, "failed": 0}
    assert sorted((tmp_path / "output/progress/a").iterdir()) == frames


def test_steps_of_another_run_are_not_taken_for_those_of_this(run: Run, tmp_path: Path):
    assert run("--record") == 0
    frame = next((tmp_path / "output/progress/a").iterdir())
    Image.open(frame).save(frame)  # the same picture, but of nobody knows what
    assert run("--record") == 0
    assert counts(tmp_path) == {"done": 1, "skipped": 1, "failed": 0}


@pytest.mark.parametrize("where", ["recon", "color"])
@pytest.mark.parametrize("what", ["pipe", "bomb", "text bomb", "link to itself", "half of it"])
def test_no_result_in_the_place_of_one(what: str, where: str, run: Run, tmp_path: Path):
    assert run() == 0
    path = tmp_path / f"output/{where}/a.png"
    content = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link to itself":
        path.symlink_to(path)
    else:
        path.write_bytes(
            {"bomb": odd.bomb(), "text bomb": odd.text_bomb()}.get(what, content[: len(content) // 2])
        )
    started = time.monotonic()
    assert run() == 0
    assert time.monotonic() - started < 120
    assert counts(tmp_path) == {"done": 1, "skipped": 1, "failed": 0}
    assert path.read_bytes() == content


def test_what_a_killed_run_has_left_of_its_steps_is_cleared_away(run: Run, tmp_path: Path):
    folder = tmp_path / "output/progress/a"
    folder.mkdir(parents=True)
    old, new = folder / ".part-old.tmp", folder / ".part-new.tmp"
    for path in (old, new):
        path.write_bytes(b"half an image")
    os.utime(old, (0, 0))
    assert run() == 0
    assert not old.exists() and new.exists()  # another process may be writing the second
