"""``python evaluate.py`` with several methods: what is ranked, what is told, and the statistics."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

import evaluate as command
from tests.util.evaluation.test_metrics import picture
from util.evaluation.comparison import FUSION, Comparison, Measured
from util.evaluation.inference import bootstrap
from util.evaluation.methods import differing_settings, find_jobs, method_folders, source_names
from util.evaluation.metrics import PAPER_METRICS
from util.images.pairs import InputError

STEMS = ("a", "b", "c")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sources in ir and vi; methods that copy, average, and truly fuse, one of them short of an image."""
    for index, stem in enumerate(STEMS):
        ir, vi = picture(2 * index, (64, 96)), picture(2 * index + 1, (64, 96))
        rng = np.random.default_rng(index)
        mixed = np.clip(0.3 * ir + 0.6 * vi + rng.normal(0, 9, ir.shape), 0, 255).astype(np.uint8)
        images = {"ir": ir, "vi": vi, "copy": ir, "mean": (ir // 2 + vi // 2), "good/recon": mixed}
        images |= {"noisy": np.clip(mixed + rng.normal(0, 40, ir.shape), 0, 255).astype(np.uint8)}
        images |= {"short": mixed} if stem != "c" else {}
        for folder, image in images.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / folder / f"{stem}.png")
    return tmp_path


def run(root: Path, *more: str) -> int:
    return command.main(["--ir", str(root / "ir"), "--vi", str(root / "vi"), *more])


def content(root: Path) -> dict[str, Any]:
    return json.loads((root / "out.json").read_text())


def test_a_table_of_all_methods(root: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        run(root, "--methods", str(root), "--json", str(root / "out.json"), "--csv", str(root / "o.csv")) == 1
    )
    captured = capsys.readouterr()
    lines = {line.split()[0]: line for line in captured.out.splitlines() if line.startswith("    ")}
    assert set(lines) == {
        "copy",
        "good",
        "mean",
        "noisy",
        "short",
    }  # good/recon was found, the sources are none
    assert "[copy of infrared]" in lines["copy"] and "[mean of both]" in lines["mean"]
    for name in ("copy", "mean", "short"):
        assert "*" not in lines[name] and lines[name].rstrip().endswith("-")  # neither best nor ranked
    assert "2 of 3" in lines["short"] and "short: c: there is no c.*" in captured.err
    found = content(root)["methods"]
    assert found["copy"]["fusion"] == pytest.approx(0, abs=1e-12) and found["noisy"]["fusion"] > 0.1
    assert found["good"]["rank"] + found["noisy"]["rank"] == 3 and found["mean"]["rank"] is None
    rows = list(csv.DictReader((root / "o.csv").open()))
    assert len(rows) == 4 * 4 + 3 and list(rows[0]) == ["method", "image", *PAPER_METRICS]


def test_common_images_alone(root: Path, capsys: pytest.CaptureFixture[str]):
    line = ["--method", f"one={root / 'good'}", "--method", f"two={root / 'short'}", "--common"]
    assert run(root, *line) == 0
    out = capsys.readouterr().out
    assert "2 of" not in out and out.count("*") > 6  # both are ranked


@pytest.mark.parametrize(
    ("number", "metrics", "order"),
    [
        ("1", PAPER_METRICS, ["rfn nest", "Tardal", "ours"]),
        ("emma", ["EN", "SD", "SF", "AG", "SCD", "VIF"], ["Tardal", "rfn nest", "ours"]),
    ],
)
def test_a_table_in_the_form_of_a_published_one(
    root: Path, capsys: pytest.CaptureFixture[str], number: str, metrics: list[str], order: list[str]
):
    """Its metrics and its order, spelling aside; sources that lie beside the methods need no naming."""
    folders = root / "methods"
    folders.mkdir()
    for side in ("ir", "vi"):
        (root / side).rename(folders / side)
    for name, made in (("Tardal", "noisy"), ("rfn nest", "good/recon")):
        (root / made).rename(folders / name)
    line = ["--method", f"ours={root / 'copy'}", "--methods", str(folders), "--table_like", number]
    written = root / "written"
    assert command.main([*line, "--format", "csv", "--tables_dir", str(written)]) == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["method"].partition(" [")[0] for row in rows] == order
    assert list(rows[0])[6:] == [*metrics, "rank"]
    assert {row["method"]: row["rank"] for row in rows}["ours [copy of infrared]"] == ""
    assert (written / "methods.csv").read_text().strip() == out.strip()
    text = (written / "methods.txt").read_text()
    assert "methods measured here, protocol ddfm" in text and "Fusion" not in text and "DDFM" not in text
    assert (
        r"\textbf" in (written / "methods.tex").read_text() and "**" in (written / "methods.md").read_text()
    )


def test_what_does_not_go_with_the_form_of_a_published_table(root: Path, capsys: pytest.CaptureFixture[str]):
    line = ["--fused", str(root / "copy")]
    for more, message in (
        (["--table_like", "1"], "--table_like are for several methods"),
        (["--method", f"a={root / 'copy'}", "--table_like", "1", "--metrics", "EN"], "leave --metrics out"),
        (["--table_like", "4"], "there are 1, 2, 3 and emma"),
    ):
        with pytest.raises(SystemExit):
            run(root, *(line if len(more) == 2 else []), *more)
        assert message in capsys.readouterr().err
    empty = root / "published.yaml"
    empty.write_text("tables: {}")
    assert run(root, "--methods", str(root), "--table_like", "1", "--published", str(empty)) == 2
    assert "has no table 1" in capsys.readouterr().err


def test_many_missing_files_are_one_line(root: Path, capsys: pytest.CaptureFixture[str]):
    for stem in ("b", "c"):
        (root / f"noisy/{stem}.png").unlink()
    assert run(root, "--method", f"one={root / 'good'}", "--method", f"two={root / 'noisy'}") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line or "two" in line]
    assert len(errors) == 1 and "and 1 like it: c" in errors[0]


def test_paired_tests_and_intervals(root: Path, capsys: pytest.CaptureFixture[str]):
    line = ["--method", f"one={root / 'good'}", "--method", f"two={root / 'noisy'}", "--against", "one"]
    assert run(root, *line, "--intervals", "--json", str(root / "out.json"), "--metrics", "VIF,SD") == 0
    out = capsys.readouterr().out
    assert "Against one" in out and "95 % bootstrap" in out
    tests = content(root)["tests"]
    assert [(test["method"], test["metric"]) for test in tests] == [("two", "VIF"), ("two", "SD")]
    assert tests[0]["difference"] < 0 < tests[1]["difference"]
    assert run(root, *line[:-1], "three") == 2
    assert "there is no method 'three'" in capsys.readouterr().err


def test_wilcoxon_and_holm():
    """All ten differences have one sign: the exact p is that of ten coins; Holm doubles the smaller of two."""
    comparison = Comparison("set", "ddfm", ["EN", "SD"])
    for name, shift in (("one", 0.0), ("two", 1.0)):
        comparison.methods[name] = {
            str(index): Measured({"EN": index + shift, "SD": index + shift * (-1) ** index}, {})
            for index in range(10)
        }
    tests = {test.metric: test for test in comparison.paired_tests("one")}
    assert tests["EN"].difference.mean == 1 and tests["EN"].images == 10
    assert tests["EN"].p == pytest.approx(2 * binomtest(10, 10).pvalue, rel=0.3)
    assert tests["SD"].p > 0.5


def test_bootstrap_has_the_spread_of_the_mean():
    sample = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap(list(sample))
    half = 1.96 * sample.std() / 20
    assert interval.mean == pytest.approx(sample.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.1)
    assert np.isnan(bootstrap([1.0, float("inf")]).low)


def test_distance_to_plain_fusions_by_hand():
    comparison = Comparison("set", "ddfm", ["EN", "SD", "SF"])
    comparison.plain = {"x": {"copy": {"EN": 6.0, "SD": 10.0}, "mean": {"EN": 8.0, "SD": 30.0}}}
    comparison.methods = {"m": {"x": Measured({"EN": 7.0, "SD": 10.0, "SF": 3.0}, {})}}
    assert comparison.scales() == {"EN": 2.0, "SD": 20.0}  # SF is none of the paper's
    assert comparison.distance("m", "x") == (pytest.approx(0.5 / np.sqrt(2)), "copy")
    assert comparison.mean("m", FUSION) == pytest.approx(0.5 / np.sqrt(2))


def test_sources_are_named_by_what_they_are(tmp_path: Path):
    assert source_names(tmp_path / "MRI_PET/ir", tmp_path / "MRI_PET/vi") == ("PET", "MRI")
    assert source_names(tmp_path / "CT", tmp_path / "MRI") == ("CT", "MRI")
    assert source_names(tmp_path / "TNO/ir", tmp_path / "TNO/vi") == ("infrared", "visible")
    assert source_names(tmp_path / "left", tmp_path / "right") == ("infrared", "visible")


def test_settings_that_differ_are_noted(tmp_path: Path):
    for name, steps in (("one", 25), ("two", 100)):
        (tmp_path / name).mkdir()
        run_record = {
            "fusion_config": {"em": {"tv": True}},
            "diffusion_config": {"timestep_respacing": steps},
        }
        (tmp_path / name / "run.json").write_text(json.dumps(run_record))
    (tmp_path / "theirs").mkdir()
    methods = {name: tmp_path / name for name in ("one", "two", "theirs")}
    assert differing_settings(methods) == ["diffusion_config.timestep_respacing: one 25, two 100"]


def test_folders_that_are_not_there(tmp_path: Path, root: Path):
    with pytest.raises(InputError, match="is not a folder"):
        method_folders(tmp_path / "none", root / "ir", root / "vi")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no folder of a method"):
        method_folders(tmp_path / "empty", root / "ir", root / "vi")
    (root / "other").mkdir()
    Image.fromarray(picture(0, (64, 96))).save(root / "other/z.png")
    with pytest.raises(InputError, match="no image is in all folders"):
        find_jobs({"other": root / "other"}, root / "ir", root / "vi", common=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--method", "x"], "is not NAME=DIR"),
        (["--method", "x=y", "--fused", "z"], "--fused is for one folder alone"),
        (["--fused", "z", "--common"], "are for several methods"),
        (["--fused", "z", "--labels", "PET"], "is not FIRST,SECOND"),
    ],
)
def test_command_lines_that_make_no_sense(line: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--ir", "i", "--vi", "v", *line])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_names_that_are_no_text(root: Path, capsys: pytest.CaptureFixture[str]):
    """A file name of bytes that are no UTF-8 loses neither table nor files."""
    for folder in ("ir", "vi", "noisy"):
        (root / folder / "a.png").rename(root / folder / "a\udcff\udc80.png")
    line = ["--method", f"m={root / 'noisy'}", "--json", str(root / "out.json"), "--csv", str(root / "o.csv")]
    assert run(root, *line) == 0
    assert len(content(root)["methods"]["m"]["images"]) == 3
    assert "a\\udcff\\udc80" in (root / "o.csv").read_text()
    assert "m  " in capsys.readouterr().out
