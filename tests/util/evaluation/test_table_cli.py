"""``python evaluate.py --table``: fusing, measuring and printing, with EM alone on small made-up data sets."""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from tests.conftest import PriorFiles, make_pair
from util.evaluation import table_runs
from util.evaluation.folders import Evaluation, Result
from util.evaluation.plots import boxes, panel, radar, style, write_boxes
from util.evaluation.tables import Block, Row
from util.evaluation.views import check_box, fused_file, salient_box
from util.images.named_datasets import TABLE_DATASETS
from util.run import fusing, results
from util.run.folder import fuse_folder
from util.run.record import RunRecord
from util.run.settings import FolderSettings

ABLATION = Path(__file__).parents[3] / "configs/ablation"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """RoadScene (3 pairs, one in colour) and MRI-PET (1 pair), as they are distributed."""
    for stem in ("a", "b", "c"):
        make_pair(tmp_path / "scene", stem, (70, 100), "vi" if stem == "a" else "")
    make_pair(tmp_path / "brain", "11")
    root = tmp_path / "data"
    (root / "RoadScene").mkdir(parents=True)
    (tmp_path / "scene/ir").rename(root / "RoadScene/cropinfrared")
    (tmp_path / "scene/vi").rename(root / "RoadScene/crop_LR_visible")
    (root / "PET-MRI").mkdir()
    (tmp_path / "brain/ir").rename(root / "PET-MRI/PET")
    (tmp_path / "brain/vi").rename(root / "PET-MRI/MRI")
    return root


@pytest.fixture
def few_steps(tmp_path: Path) -> Path:
    path = tmp_path / "diffusion.yaml"
    path.write_text("timestep_respacing: 2\n")
    return path


def run(tmp_path: Path, *more: str, configs: tuple[str, ...] = ("exp_1_paper", "exp_1_released")) -> int:
    files = [str(ABLATION / f"{name}.yaml") for name in configs]
    line = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "fused"), "--fusion_config", *files]
    return command.main([*line, "--diffusion_config", str(tmp_path / "diffusion.yaml"), *more])


def rows(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))


def ours(text: str) -> list[dict[str, Any]]:
    return [row for row in rows(text) if row["rows"] == "here"]


@pytest.mark.usefixtures("data", "few_steps")
def test_a_table_has_our_rows_under_the_published_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path, "--table", "1", "--tables_dir", str(tmp_path / "t")) == 0
    captured = capsys.readouterr()
    lines = [line.split("  ")[0] or line.strip() for line in captured.out.splitlines()]
    assert lines[0].startswith("Table 1.")
    assert captured.out.index("52.61") < captured.out.index("exp_1_paper (no prior)")
    for name in ("MSRS", "M3FD", "TNO"):
        assert f"{name} is not there; see {TABLE_DATASETS[name].home}" in captured.out.replace("\n  ", " ")
        assert f"{name} is not in" in captured.err
    made = ours((tmp_path / "t/table_1.csv").read_text())
    assert [(row["dataset"], row["method"], row["images"]) for row in made] == [
        ("RoadScene", "exp_1_paper (no prior)", "3"),
        ("RoadScene", "exp_1_released (no prior)", "3"),
    ]
    values = json.loads((tmp_path / "t/RoadScene_exp_1_paper.json").read_text())
    assert list(values["images"]) == ["a", "b", "c"]
    assert float(made[0]["VIF"]) == pytest.approx(values["mean"]["VIF"])
    assert {path.suffix for path in (tmp_path / "t").iterdir()} == {".txt", ".md", ".tex", ".csv", ".json"}


@pytest.mark.usefixtures("data", "few_steps")
def test_finished_images_are_reused_and_strangers_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, "--table", "1", configs=("exp_1_paper",)) == 0
    image = tmp_path / "fused/RoadScene/exp_1_paper/recon/a.png"
    made = image.stat().st_mtime_ns
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(image.with_name("stranger.png"))
    capsys.readouterr()
    assert run(tmp_path, "--table", "1", "--limit", "2", "--format", "csv", configs=("exp_1_paper",)) == 0
    assert image.stat().st_mtime_ns == made
    assert [row["images"] for row in ours(capsys.readouterr().out)] == ["2 of 3"]


@pytest.mark.usefixtures("data", "few_steps")
def test_table_2_runs_the_ablation_and_names_the_prior(
    tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    line = [
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "fused"),
        "--limit",
        "1",
        "--table",
        "2",
    ]
    line += ["--diffusion_config", str(tmp_path / "diffusion.yaml"), "--model_config", str(tiny_prior.config)]
    assert command.main([*line, "--sample_flags", "--device cpu"]) == 0
    out = capsys.readouterr().out
    for path in ABLATION.iterdir():
        prior = "no prior" if path.stem.startswith("exp_1") else "prior prior.pt"
        assert f"{path.stem} ({prior})" in out
    assert "NOT the official checkpoint but prior.pt" in " ".join(out.split())
    assert "41.82" in out  # Exp. I as published


@pytest.mark.usefixtures("data", "few_steps")
def test_several_tables_share_what_was_fused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    calls = []

    def fuse(settings: FolderSettings) -> RunRecord:
        calls.append(settings)
        return fuse_folder(settings)

    monkeypatch.setattr(table_runs, "fuse_folder", fuse)
    assert run(tmp_path, "--table", "1", "2", "3", configs=("exp_1_paper",)) == 0
    assert len(calls) == 2  # RoadScene, MRI-PET
    out = capsys.readouterr().out
    assert [word in out for word in ("Table 1.", "Table 2.", "Table 3.", "MRI-PET")] == [True] * 4


@pytest.mark.usefixtures("few_steps")
def test_failed_pairs_and_runs_are_told(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    (data / "RoadScene/cropinfrared/b.png").write_bytes(b"none")
    assert run(tmp_path, "--table", "1", "--format", "csv", configs=("exp_1_paper",)) == 1
    captured = capsys.readouterr()
    assert [row["images"] for row in ours(captured.out)] == ["2 of 3"]
    assert "b.png: not a readable image" in captured.err and captured.err.count("ERROR") == 1
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: none\n")
    assert run(tmp_path, "--table", "1") == 2
    assert "exp_1_released on RoadScene gave no result" in capsys.readouterr().out


@pytest.mark.usefixtures("few_steps")
def test_interruption_while_fusing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(fusing, "fuse", interrupted)
    assert data.is_dir() and run(tmp_path, "--table", "1") == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.usefixtures("data", "few_steps")
def test_flags_of_sample_are_settings_of_every_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """They reach the run; those that the table chooses itself, and wrong ones, end it before the first pair."""
    assert run(tmp_path, "--table", "1", "--sample_flags", "--seed 7 --batch_size 2 --record --limit 1") == 0
    made = tmp_path / "fused/RoadScene/exp_1_paper"
    record = json.loads((made / "run.json").read_text())
    assert record["fusion_config"]["seed"] == 7 and [pair["stem"] for pair in record["pairs"]] == ["a"]
    assert len(list((made / "progress/a").iterdir())) == 2
    capsys.readouterr()
    for flag in ("--ir elsewhere", "--save_dir elsewhere", "--dry_run"):
        assert run(tmp_path, "--table", "1", f"--sample_flags={flag}") == 2
        assert f"--sample_flags: {flag.split()[0]} does not go with --table" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "--table", "1", "--sample_flags", "--batch_size none")
    assert stopped.value.code == 2 and "none is neither a whole number nor auto" in capsys.readouterr().err


@pytest.mark.usefixtures("data", "few_steps")
def test_configurations_by_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As sample.py finds them; and a name that there is not ends it before the first pair."""
    monkeypatch.chdir(tmp_path)
    line = ["--table", "1", "--data", "data", "--out", "fused", "--format", "csv", "--limit", "1"]
    named = ["--fusion_config", "exp_1_paper", "local_fast", "--diffusion_config", "quick"]
    assert command.main([*line, *named]) == 0
    labels = [row["method"] for row in ours(capsys.readouterr().out)]
    assert labels == ["exp_1_paper (no prior)", "fusion_config_local_fast (no prior)"]
    record = json.loads((tmp_path / "fused/RoadScene/exp_1_paper/run.json").read_text())
    assert record["diffusion_config"]["timestep_respacing"] == 62
    for flag, wrong in (("--fusion_config", "locl_fast"), ("--diffusion_config", "quik")):
        assert command.main([*line, "--out", "other", "--fusion_config", "local", flag, wrong]) == 2
        assert "did you mean" in capsys.readouterr().err and not (tmp_path / "other").exists()


@pytest.mark.usefixtures("few_steps")
def test_what_a_full_disk_leaves_untried_is_no_image(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write, written = results.write_png, []

    def full(path: Path, *more: Any) -> None:
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *more)

    monkeypatch.setattr(results, "write_png", full)
    assert data.is_dir() and run(tmp_path, "--table", "1", "--format", "csv", configs=("exp_1_paper",)) == 1
    captured = capsys.readouterr()
    assert [row["images"] for row in ours(captured.out)] == ["1 of 3"] and "the disk is full" in captured.err


def test_evaluating_without_tables_loads_nothing_slow():
    """Which would take longer than fifty images do."""
    slow = {"torch", "scipy", "matplotlib", "pandas", "tifffile", "yaml"}
    code = f"import sys, evaluate, util.cli.evaluate_methods; sys.exit(bool({slow} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ABLATION.parents[1])


def test_standard_protocol_leaves_out_values_of_the_other(
    tmp_path: Path, data: Path, few_steps: Path, capsys: pytest.CaptureFixture[str]
):
    assert data.is_dir() and few_steps.is_file()
    assert run(tmp_path, "--table", "1", "--protocol", "standard", "--format", "csv") == 0
    out = capsys.readouterr().out
    made = ours(out)[0]
    published = next(row for row in rows(out) if (row["dataset"], row["method"]) == ("RoadScene", "DDFM"))
    assert published["SD"] == "52.61" and published["SSIM"] == "" and published["protocol"] == "ddfm"
    assert made["SSIM"] and made["protocol"] == "standard"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--table", "1"], "--table needs --data"),
        (["--table", "1", "--data", "x", "--fused", "y"], "--table goes without --fused"),
        (["--fused", "x", "--ir", "y"], "--vi is missing"),
        (["--table", "4", "--data", "x"], "invalid choice: 4"),
        (["--table", "1", "--data", "x", "--box", "1,2,3"], "is not x,y,width,height"),
        (["--table", "1", "--data", "x", "--box", "1,2,0,3"], "must start in the image and have a size"),
    ],
)
def test_command_lines_that_make_no_sense(line: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        command.main(line)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_nothing_there_or_not_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "data").mkdir()
    assert run(tmp_path, "--table", "3") == 2
    (tmp_path / "p.yaml").write_text("tables: {}")
    assert run(tmp_path, "--table", "3", "--published", str(tmp_path / "p.yaml")) == 2
    assert "has no table 3" in capsys.readouterr().err
    assert run(tmp_path, "--table", "1", configs=("ours_paper", "ours_paper")) == 2
    assert "have the same name" in capsys.readouterr().err


@pytest.mark.usefixtures("data", "few_steps")
def test_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    line = ["--table", "1", "--pictures", str(tmp_path / "p")]
    assert run(tmp_path, *line, "--stems", "b", "--box", "10,20,40,30") == 0
    assert {path.name for path in (tmp_path / "p").iterdir()} == {
        "panel_RoadScene_b.png",
        "boxes_RoadScene.png",
        "boxes_RoadScene.svg",
        "boxes_RoadScene.pdf",
        "table_1_RoadScene_radar.png",
        "table_1_RoadScene_radar.svg",
        "table_1_RoadScene_radar.pdf",
    }
    with Image.open(tmp_path / "p/panel_RoadScene_b.png") as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert (np.abs(colours.astype(int) - (255, 59, 48)).max(axis=1) < 8).sum() > 200  # the marked boxes
    assert run(tmp_path, *line, "--stems", "z") == 1
    assert "--stems z: there is no such image; there are a, b, c" in capsys.readouterr().err
    assert run(tmp_path, *line, "--box", "90,0,20,20") == 1
    assert "does not lie in it" in capsys.readouterr().err


@pytest.mark.usefixtures("data", "few_steps")
def test_panels_show_sources_and_results_with_their_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []
    monkeypatch.setattr(
        "util.evaluation.plots.write_panels", lambda folder, results, *more: shown.extend(results) or []
    )
    assert run(tmp_path, "--table", "1", "--pictures", str(tmp_path / "p")) == 0
    figure = panel(shown, "a", (10, 20, 40, 30))
    top, bottom = figure.axes[:4], figure.axes[4:]
    titles = ["infrared", "visible", "exp_1_paper (no prior)", "exp_1_released (no prior)"]
    assert [axes.get_title() for axes in top] == titles
    for above, below in zip(top, bottom, strict=True):
        whole, crop = (axes.images[0].get_array() for axes in (above, below))
        assert whole is not None and whole.shape == (64, 96, 3)  # sources cropped as the results are
        assert np.array_equal(crop, whole[20:50, 10:50])  # type: ignore[arg-type]
    assert fused_file(shown[0].triples[0]).parent.name == "color"


def test_the_box_is_where_infrared_is_salient_and_both_have_contrast():
    rng = np.random.default_rng(1)
    a, b = (np.full((120, 160), 100, np.uint8) for _ in range(2))
    a[:40, :60] = rng.integers(0, 256, (40, 60))  # in one source only
    for image in (a, b):
        image[70:110, 100:150] = rng.integers(60, 140, (40, 50))
    x, y, w, h = salient_box(a, b)
    assert min(x - 95, 155 - x - w, y - 65, 115 - y - h) >= 0
    assert check_box((x, y, w, h), (120, 160), "image") == (x, y, w, h)


def test_radar_needs_three_metrics_and_a_whole_row():
    row = Row("m", "here", {"EN": 7.0, "SD": 40.0, "VIF": 0.5, "MSE": 3.0})
    part = Row("part", "paper", {"SD": 80.0})
    figure = radar(Block("TNO", [row, part]), ["EN", "SD", "VIF", "MSE"])
    assert figure is not None
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert texts == {"EN\n7.00", "SD\n40.00", "VIF\n0.50"}
    assert radar(Block("TNO", [row]), ["EN", "SD", "MSE"]) is None
    assert radar(Block("TNO", [part]), ["EN", "SD", "VIF"]) is None


def test_colours_dashes_and_markers_tell_methods_apart():
    looks = [style(index) for index in range(28)]
    assert len({(look["color"], str(look["linestyle"]), look["marker"]) for look in looks}) == 28
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 28  # boxes have no marker
    for index in range(7):  # without colour too
        others = [look for look in looks[:7] if look is not looks[index]]
        assert all(look["marker"] != looks[index]["marker"] for look in others)


def test_boxes_show_every_method_and_leave_infinities_out(tmp_path: Path):
    results = []
    for label in ("one", "two $x_"):
        images = {str(i): {"EN": float(i), "PSNR": float("inf") if i == 0 else 10.0 + i} for i in range(5)}
        results.append(Result("TNO", label, Evaluation("ddfm", ["EN", "PSNR"], images), []))
    figure = boxes(results)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["one", r"two \$x_"]
    assert [axes.get_title() for axes in figure.axes] == ["EN ↑", "PSNR ↑"]
    paths = write_boxes(tmp_path, results)
    assert [path.suffix for path in paths] == [".png", ".svg", ".pdf"]
    assert "two $x_" in paths[1].read_text()
    assert paths[1].read_bytes() == write_boxes(tmp_path, results)[1].read_bytes()


def test_pictures_of_a_name_of_250_bytes(tmp_path: Path):
    stem = "ü" * 123
    make_pair(tmp_path, stem)
    (tmp_path / "out").mkdir()
    shutil.copy(tmp_path / f"ir/{stem}.png", tmp_path / f"out/{stem}.png")
    line = [part for side in ("ir", "vi") for part in (f"--{side}", str(tmp_path / side))]
    line += ["--fused", str(tmp_path / "out"), "--metrics", "EN", "--pictures", str(tmp_path / "p")]
    assert command.main([*line, "--report", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").is_file() and len(list((tmp_path / "p").iterdir())) == 1
