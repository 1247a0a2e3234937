"""Runs that end early lose nothing: kill -9, SIGTERM, Ctrl-C, and the same command again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import sample
from tests.conftest import PriorFiles, make_pair

ROOT = Path(sample.__file__).parent
STEMS = ["a", "b", "c"]

# Runs sample.py, but hangs where the environment says: in the middle of writing the second image, or in its steps.
CHILD = """
import os, signal, sys, time
from pathlib import Path
import sample

for name in ("SIGTERM", "SIGHUP"):  # the tests may run under nohup, whose children ignore the last
    signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

def hang(*_):
    Path(os.environ["HUNG"]).touch()
    time.sleep(600)

if os.environ["HANG"] == "writing":
    from util import files
    fsync, seen = os.fsync, []
    def slow(number):
        name = os.readlink(f"/proc/self/fd/{number}")
        if "/recon/" in name:
            seen.append(name)
        return hang() if "/recon/" in name and len(seen) == 2 else fsync(number)
    files.os.fsync = slow
else:
    from util.run import fusing
    fuse, calls = fusing.fuse, []
    def slow(*arguments, **options):
        calls.append(1)
        return hang() if len(calls) == 2 else fuse(*arguments, **options)
    fusing.fuse = slow
sys.exit(sample.main())
"""


@pytest.fixture
def work(tmp_path: Path, tiny_prior: PriorFiles) -> Path:
    for stem in STEMS:
        make_pair(tmp_path / "input", stem, colour="vi")
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 2\n")
    (tmp_path / "model.yaml").write_text(tiny_prior.config.read_text())
    return tmp_path


def arguments(work: Path, save_dir: str) -> list[str]:
    return [
        *("--model_config", str(work / "model.yaml"), "--diffusion_config", str(work / "diffusion.yaml")),
        *("--input", str(work / "input"), "--save_dir", str(work / save_dir), "--device", "cpu"),
    ]


def start(work: Path, where: str) -> subprocess.Popen[str]:
    """A run that hangs at its second pair; returns once it does."""
    env = {**os.environ, "HANG": where, "HUNG": str(work / "hung"), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments(work, "output")],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(1200):
        if (work / "hung").exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    assert child.poll() is None, child.communicate()[1]
    return child


def images(work: Path, save_dir: str) -> dict[str, bytes]:
    """Every file of the results but the record of the run."""
    folder = work / save_dir
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture
def uninterrupted(work: Path) -> dict[str, bytes]:
    assert sample.main(arguments(work, "whole")) == 0
    return images(work, "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("where", ["writing", "steps"])
def test_killed_and_started_again(work: Path, uninterrupted: dict[str, bytes], where: str):
    child = start(work, where)
    child.kill()
    child.communicate()
    left = {name: content for name, content in images(work, "output").items() if ".part-" not in name}
    assert set(left) < set(uninterrupted) and "recon/a.png" in left and "recon/b.png" not in left
    assert all(content == uninterrupted[name] for name, content in left.items())
    assert json.loads((work / "output/run.json").read_text())["counts"]["done"] == 1
    pairs = json.loads((work / "output/run.json").read_text())["pairs"]
    assert [(pair["stem"], pair["status"]) for pair in pairs if pair["status"] == "untried"] == [
        ("b", "untried"),
        ("c", "untried"),
    ]
    unfinished = list((work / "output").rglob(".part-*"))
    assert len(unfinished) == (where == "writing")
    for path in unfinished:  # as if some time had passed
        os.utime(path, (0, 0))

    assert sample.main(arguments(work, "output")) == 0
    assert json.loads((work / "output/run.json").read_text())["counts"] == {
        "done": 2,
        "skipped": 1,
        "failed": 0,
    }
    assert images(work, "output") == uninterrupted


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_with_the_summary(work: Path, number: int):
    child = start(work, "writing" if number == signal.SIGTERM else "steps")
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert (
        "1 fused, 0 skipped, 0 failed" in out and "interrupted with 2 not tried: run the same command" in out
    )
    assert "Traceback" not in err
    assert sorted(path.name for path in (work / "output/recon").iterdir()) == ["a.png"]
    assert json.loads((work / "output/run.json").read_text())["interrupted"]


def test_redone_when_anything_that_counts_has_changed(work: Path, uninterrupted: dict[str, bytes]):
    """Another configuration redoes all; a result that is damaged or whose colour is gone is made again."""

    def again(*more: str) -> dict[str, int]:
        assert sample.main([*arguments(work, "whole"), *more]) == 0
        return json.loads((work / "whole/run.json").read_text())["counts"]

    assert again() == {"done": 0, "skipped": 3, "failed": 0}
    (work / "whole/color/b.png").unlink()
    with (work / "whole/recon/c.png").open("r+b") as stream:
        stream.truncate(200)
    assert again() == {"done": 2, "skipped": 1, "failed": 0}
    assert images(work, "whole") == uninterrupted
    (work / "diffusion.yaml").write_text("timestep_respacing: 3\n")
    assert again() == {"done": 3, "skipped": 0, "failed": 0}
    make_pair(work / "input", "a", colour="vi", seed=4)
    assert again() == {"done": 1, "skipped": 2, "failed": 0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[], Path]:
    """Mounts a file system of 100 KiB; skips where that is not allowed."""

    def mount() -> Path:
        folder = tmp_path / "small"
        folder.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
        if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(line, check=False).returncode:
            pytest.skip("no file system may be mounted here")
        return folder

    return mount


def test_a_disk_that_really_is_full(
    work: Path, small_disk: Callable[[], Path], capsys: pytest.CaptureFixture[str]
):
    folder = small_disk()
    try:
        for number in range(12):
            make_pair(work / "input", f"more{number:02d}", (96, 96))
        assert sample.main([*arguments(work, "small"), "--quiet"]) == 1
        captured = capsys.readouterr()
        assert captured.err.count("the disk is full") == 1 and "make room" in captured.out
        done = list((folder / "recon").iterdir())
        assert done and all(Image.open(path).size for path in done if path.suffix == ".png")
        assert not list(folder.rglob(".part-*"))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
