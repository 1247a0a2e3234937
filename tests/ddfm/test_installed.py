"""The package as pip installs it, run from a folder of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_pair

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("ddfm", "guided_diffusion", "util", "configs", "models", "input")
FILES = ("sample.py", "evaluate.py", "pyproject.toml", "LICENSE", "README.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the project; built from a copy, which building litters."""
    if not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")):
        pytest.skip("installing needs pip and setuptools")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


def fuse(site: Path, work: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """What the command ddfm-fuse runs, in ``work``."""
    code = "import sys; from ddfm.commands import fuse_command; sys.exit(fuse_command())"
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", code, "--preset", "local_fast", "--device", "cpu", *more]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=env, cwd=work)


@pytest.mark.slow
def test_without_arguments_the_sample_pairs_are_fused_below_the_working_directory(site: Path, tmp_path: Path):
    done = fuse(site, tmp_path, "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert f"no sources are named: those in {site / 'ddfm/input'}" in done.stderr
    assert [path.name for path in (tmp_path / "output/recon").iterdir()] == ["daylight.png"]
    assert not (site / "output").exists() and not (site / "ddfm/output").exists()


@pytest.mark.slow
def test_a_folder_input_goes_before_the_sample_pairs(site: Path, tmp_path: Path):
    make_pair(tmp_path / "input", "mine")
    done = fuse(site, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "output/recon").iterdir()] == ["mine.png"]


@pytest.mark.slow
def test_configurations_are_found_by_name_and_path(site: Path, tmp_path: Path):
    named = fuse(
        site, tmp_path, "--fusion_config", "exp_1_paper", "--steps", "2", "--dry_run", "--limit", "1"
    )
    assert named.returncode == 0 and "exp_1_paper.yaml in place of" in named.stderr, named.stderr
    path = "configs/ablation/exp_1_paper.yaml"
    assert fuse(site, tmp_path, "--fusion_config", path, "--dry_run", "--limit", "1").returncode == 0
    wrong = fuse(site, tmp_path, "--preset", "quik")
    assert wrong.returncode == 2 and "did you mean quick?" in wrong.stderr
