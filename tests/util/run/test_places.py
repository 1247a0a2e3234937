"""No result takes the place of a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import make_pair
from tests.util.run.test_what_lies_there import Run, run

__all__ = ["run"]  # the fixture


def test_where_the_sources_lie_nothing_is_written(run: Run, tmp_path: Path):
    """The output folders are, hold or lie in a source folder, by any name."""
    (tmp_path / "link").symlink_to(tmp_path / "X", target_is_directory=True)
    make_pair(tmp_path / "X", "a")
    (tmp_path / "X/vi").rename(tmp_path / "X/recon")
    before = {path: path.read_bytes() for path in (tmp_path / "X").rglob("*.png")}
    ir = ["--ir", str(tmp_path / "X/ir")]
    for flags in (
        ["--vi", str(tmp_path / "X/recon"), "--save_dir", str(tmp_path / "X")],
        ["--vi", str(tmp_path / "X/recon"), "--save_dir", str(tmp_path / "link")],
        ["--vi", str(tmp_path / "link/recon"), "--save_dir", str(tmp_path / "X")],
        ["--vi", str(tmp_path / "X/recon"), "--save_dir", str(tmp_path / "X/ir/../../X")],
        ["--vi", str(tmp_path / "X/recon"), "--save_dir", str(tmp_path / "X/ir/out")],
        ["--vi", str(tmp_path / "X/recon"), "--save_dir", str(tmp_path / "X/ir")],
    ):
        for more in ([], ["--dry_run"], ["--overwrite"]):
            assert run(*ir, *flags, *more) == 2, flags
    assert {path: path.read_bytes() for path in (tmp_path / "X").rglob("*.png")} == before
    assert not list((tmp_path / "X").rglob("run.json"))


def test_a_source_that_is_a_link_to_a_result_is_refused(run: Run, tmp_path: Path, capsys: Any):
    assert run() == 0
    (tmp_path / "input/ir/a.png").unlink()
    (tmp_path / "input/ir/a.png").symlink_to(tmp_path / "output/recon/a.png")
    assert run() == 2
    assert "output/recon" in capsys.readouterr().err


def test_results_beside_the_sources_are_fine(run: Run, tmp_path: Path):
    assert run("--save_dir", str(tmp_path / "input")) == 0
    assert (tmp_path / "input/recon/a.png").exists()
