"""What ``python sample.py`` takes as its sources: folders of other names, by ``--match``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sample
from tests.conftest import make_pair

SampleRun = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SampleRun:
    """Runs sample.py with ``local_fast``, which is quick, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *more: sample.main(
        ["--preset", "local_fast", "--device", "cpu", "--save_dir", "out", *more]
    )


def named(*pairs: tuple[str, str]) -> list[str]:
    """Pairs of files of these names in the folders in/ir and in/vi; the flag that names their folder."""
    for number, names in enumerate(pairs):
        make_pair(Path("made"), "x", seed=number)
        for side, name in zip(("ir", "vi"), names, strict=True):
            Path("in", side).mkdir(parents=True, exist_ok=True)
            Path("made", side, "x.png").rename(Path("in", side, name))
    return ["--input", "in"]


def results() -> list[str]:
    return sorted(path.name for path in Path("out/recon").iterdir())


def test_other_names_by_pattern_or_order(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    flags = named(("thermal_1.png", "rgb_1.png"), ("thermal_2.png", "rgb_2.png"))
    assert run(*flags) == 2
    error = capsys.readouterr().err
    assert "rgb_1.png has no partner" in error and "--match 'thermal_*=rgb_*' would pair 2" in error
    assert run(*flags, "--match", "thermal_*=rgb_*") == 0
    assert results() == ["1.png", "2.png"]
    assert run(*flags, "--match", "index") == 0
    assert results() == ["1.png", "2.png", "thermal_1.png", "thermal_2.png"]
    assert Path("out/recon/1.png").read_bytes() != Path("out/recon/2.png").read_bytes()


def test_both_kinds_in_one_folder(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    named(("a_ir.png", "a_vis.png"))
    Path("in/vi/a_vis.png").rename("in/ir/a_vis.png")
    Path("in/ir/notes.png").write_bytes(b"")
    assert run("--ir", "in/ir", "--vi", "in/ir", "--match", "*_ir=*_vis") == 0
    assert results() == ["a.png"]
    assert "1 images fit no pattern of '*_ir=*_vis', the first is in/ir/notes.png" in capsys.readouterr().err


def test_what_has_no_partner_is_named_as_it_should_be(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    flags = named(("a_ir.png", "a_vis.png"), ("b_ir.png", "c_vis.png"))
    assert run(*flags, "--match", "*_ir=*_vis") == 1
    failed = {pair["stem"]: pair["reason"] for pair in json.loads(Path("out/run.json").read_text())["pairs"]}
    assert "in/ir/b_ir.png has no partner: in/vi holds no image b_vis" in failed["b"]
    assert "in/vi/c_vis.png has no partner: in/ir holds no image c_ir" in failed["c"]
    assert results() == ["a.png"]
    capsys.readouterr()
    named(("a.png", "a.png"))
    assert run(*flags) == 1
    assert "4 images have no partner" not in capsys.readouterr().err  # a pattern would pair one, as names do
    named(("d_ir.png", "d_vis.png"))
    assert run(*flags) == 1
    assert "6 images have no partner; --match '*_ir=*_vis' would pair 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "pairs, match, words",
    [
        ([("a1.png", "b1.png"), ("a1.jpg", "c.png")], "a*=b*", "a1.jpg, in/ir/a1.png both fit 'a*=b*'"),
        ([("a1.png", "b1.png")], "x*=b*", "no image of in/ir fits 'x*', its first is a1.png"),
        ([("a_ir_ir_b.png", "a_vi_b.png")], "*_ir_*=*_vi_*", "the stars of '*_ir_*' fit its name in more"),
        ([("a1.png", "b1.png")], "a*=b*=c*", "has 3 patterns, but there are 2 folders"),
    ],
)
def test_what_cannot_be_matched(
    run: SampleRun, capsys: pytest.CaptureFixture[str], pairs: list[tuple[str, str]], match: str, words: str
):
    assert run(*named(*pairs), "--match", match) == 2
    assert words in capsys.readouterr().err and not Path("out").exists()


def test_a_rule_that_is_none_is_wrong_usage(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run("--match", "stm")
    assert "give stem, index, or a pattern for each folder" in capsys.readouterr().err
