"""What ``python sample.py`` takes as its sources: other names, by ``--match``, and single files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
from tests.conftest import make_pair
from util.images.png import read_png_text

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


def test_more_than_two_kinds_in_one_folder(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    named(("a_ir.png", "a_vis.png"), ("a_pet.png", "b.png"))
    for name in ("a_vis.png", "b.png"):
        Path("in/vi", name).rename(Path("in/ir", name))
    sources = ["--sources", "in/ir", "in/ir", "in/ir"]
    assert run(*sources, "--match", "*_ir=*_vis=*_pet") == 0
    assert results() == ["a.png"]
    assert run(*sources) == 2
    assert "in/ir is named twice among the sources: that needs a pattern" in capsys.readouterr().err


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


@pytest.fixture
def pair(run: SampleRun) -> list[str]:
    """The flags of one pair of files in the working directory, the visible one in colour."""
    make_pair(Path("made"), "x", (70, 100), colour="vi")
    for side in ("ir", "vi"):
        Path("made", side, "x.png").rename(f"{side}.png")
    return ["--ir", "ir.png", "--vi", "vi.png"]


def test_one_pair_becomes_one_file(run: SampleRun, pair: list[str], capsys: pytest.CaptureFixture[str]):
    before = set(Path().iterdir())
    assert run(*pair[:4], "--limit", "1") == 0  # into --save_dir, which is named
    assert (
        results() == ["ir_vi.png"]
        and Path("out/color/ir_vi.png").is_file()
        and Path("out/run.json").is_file()
    )
    before.add(Path("out"))
    command = ["--preset", "local_fast", "--device", "cpu", *pair]
    capsys.readouterr()
    assert sample.main([*command, "-o", "deep/fused.png"]) == 0
    captured = capsys.readouterr()
    assert set(Path().iterdir()) - before == {Path("deep")}
    assert [path.name for path in Path("deep").iterdir()] == ["fused.png"]
    assert " ms, deep/fused.png" in captured.err and "results: deep/fused.png" in captured.out
    assert "1 fused" in captured.out and " ms a pair)" in captured.out
    assert np.array_equal(
        np.asarray(Image.open("deep/fused.png")), np.asarray(Image.open("out/color/ir_vi.png"))
    )
    text = read_png_text(Path("deep/fused.png"))
    assert json.loads(text["ddfm"])["ir"] == "ir.png"
    assert sample.main([*command, "-o", "deep/fused.png"]) == 0
    assert "0 fused, 1 skipped" in capsys.readouterr().out
    assert sample.main([*command, "-o", "deep/fused.png", "--tone", "1"]) == 0
    assert "1 fused" in capsys.readouterr().out
    assert read_png_text(Path("deep/fused.png"))["fingerprint"] != text["fingerprint"]


def test_one_grey_pair_becomes_one_grey_file(run: SampleRun, pair: list[str]):
    make_pair(Path("grey"), "x")
    line = ["--preset", "local_fast", "--device", "cpu", "--ir", "grey/ir/x.png", "--vi", "grey/vi/x.png"]
    assert sample.main([*line, "--output", "x.PNG"]) == 0
    with Image.open("x.PNG") as image:
        assert image.mode == "L"
    assert sample.main([*line, "--output", "grey/fused.png"]) == 0  # beside its sources


def test_the_task_is_told_by_the_names_of_files(
    run: SampleRun, pair: list[str], capsys: pytest.CaptureFixture[str]
):
    Path("ir.png").rename("ct.png")
    Path("vi.png").rename("mri.png")
    assert run("--ir", "ct.png", "--vi", "mri.png") == 0
    assert "task: mif, for the name of a source has" in capsys.readouterr().err


def test_a_pair_that_fails_leaves_no_file_and_an_older_one_as_it_was(
    run: SampleRun, pair: list[str], capsys: pytest.CaptureFixture[str]
):
    Path("vi.png").write_bytes(b"no image")
    Path("old.png").write_bytes(b"old")
    command = ["--preset", "local_fast", "--device", "cpu", *pair]
    assert sample.main([*command, "-o", "old.png"]) == 1
    assert Path("old.png").read_bytes() == b"old"
    captured = capsys.readouterr()
    assert "1 failed" in captured.out and "vi.png: not a readable image" in captured.out
    assert "results" not in captured.out
    assert sample.main([*command, "-o", "new.png", "--dry_run"]) == 1 and not Path("new.png").exists()


@pytest.mark.parametrize(
    "more, words",
    [
        (["--ir", "ir.png", "-o", "o.png"], "ir.png is a file, but its partner is not given"),
        (["--ir", "ir.png", "--vi", "no.png", "-o", "o.png"], "no.png is not there"),
        (["--ir", "ir.png", "--vi", ".", "-o", "o.png"], "ir.png is a file, but . is none"),
        (["--input", "in", "-o", "o.png"], "o.png is to be the result of one pair: name its files"),
        (["--ir", "ir.png", "--vi", "vi.png", "-o", "vi.png"], "would take the place of the source vi.png"),
        (["--ir", "ir.png", "--vi", "vi.png", "-o", "o.jpg"], "o.jpg: results are PNG files"),
        (["--ir", "ir.png", "--vi", "vi.png", "-o", "made/ir"], "results are PNG files"),
        (["--ir", "ir.png", "--vi", "vi.png", "-o", "ir.png/o.png"], "nothing can be written in"),
        (["--ir", "ir.png", "--vi", "vi.png", "-o", "o.png", "--record"], "give --save_dir, not the name"),
    ],
)
def test_what_is_no_pair_of_files(
    run: SampleRun, pair: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    before = {path: path.read_bytes() for path in Path().glob("*.png")}
    assert sample.main(["--preset", "local_fast", "--device", "cpu", *more]) == 2
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().glob("*.png")} == before


def test_a_folder_and_a_file_for_results_exclude_each_other(
    run: SampleRun, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        run("-o", "o.png")
    assert "not allowed with argument" in capsys.readouterr().err


def test_what_reproduces_ends_by_naming_what_is_for_looking_at(
    run: SampleRun, pair: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run(*pair, "--preset", "exp_1", "--steps", "1") == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("INFO: released reproduces DDFM.") and "--preset local keeps" in last
    assert run(*pair, "--preset", "exp_1_paper", "--steps", "1", "--quiet") == 0
    assert run(*pair, "--preset", "local_fast") == 0
    assert "reproduces DDFM" not in capsys.readouterr().err


def test_folders_in_each_others_place_are_said_to_be(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    named(("a.png", "a.png"))
    assert run("--ir", "in/vi", "--vi", "in/ir", "--dry_run") == 0
    error = capsys.readouterr().err
    assert "WARNING: in/vi is taken for infrared and in/ir for visible" in error
    assert "1 of 1 can be fused, into out" in error


def test_one_folder_is_not_paired_with_the_sample_pairs(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    flags = named(("a.png", "a.png"))
    assert run("--ir", "in/ir") == 2
    assert "in/ir is named without the other folder: give both --ir and --vi" in capsys.readouterr().err
    assert run("--ir", "in/ir", *flags) == 0  # the other is in --input


@pytest.mark.parametrize(
    "line, words",
    [
        (["--save-dir", "out"], "unrecognized arguments: --save-dir out; did you mean --save_dir?"),
        (
            ["pairs"],
            "unrecognized arguments: pairs; folders and files are named by flags, such as --input DIR",
        ),
    ],
)
def test_wrong_usage_says_what_is_right(
    run: SampleRun, line: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        run(*line)
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_folders_of_other_names_can_be_named(run: SampleRun, capsys: pytest.CaptureFixture[str]):
    named(("a.png", "a.png"))
    Path("in/ir").rename("in/thermal")
    Path("in/vi").rename("in/rgb")
    assert run("--input", "in") == 2
    error = capsys.readouterr().err
    assert "name its two folders: --ir in/thermal --vi in/rgb" in error
    assert run("--ir", "in/thermal", "--vi", "in/rgb") == 0
    assert run("--input", "inn") == 2
    assert "inn is not there; did you mean in?" in capsys.readouterr().err
