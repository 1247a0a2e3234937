"""``python evaluate.py``: tables, reports, crops, and files that do not fit."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from tests.util.evaluation.test_metrics import picture
from util.evaluation.metrics import METRICS, evaluate


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for number, stem in enumerate(("a", "b", "c")):
        for side, image in zip(("fused", "ir", "vi"), triple(number), strict=True):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / side / f"{stem}.png")
    return tmp_path


def run(folders: Path, *more: str) -> int:
    line = [part for side in ("fused", "ir", "vi") for part in (f"--{side}", str(folders / side))]
    return command.main(
        [*line, "--json", str(folders / "out/m.json"), "--csv", str(folders / "out/m.csv"), *more]
    )


def triple(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images of the fixture's fused, ir and vi file of that number."""
    fused, ir, vi = (picture(3 * number + offset, (70, 100)) for offset in range(3))
    return fused, ir, vi


def report(folders: Path) -> dict[str, Any]:
    return json.loads((folders / "out/m.json").read_text())


def test_reports_hold_every_image_and_the_mean(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folders) == 0
    content = report(folders)
    expected = [evaluate(*triple(number)) for number in range(3)]
    assert content["protocol"] == "ddfm" and list(content["images"]) == ["a", "b", "c"]
    for scores, wanted in zip(content["images"].values(), expected, strict=True):
        assert scores == pytest.approx(wanted)
    for name in METRICS:
        values = [scores[name] for scores in expected]
        assert content["mean"][name] == pytest.approx(np.mean(values))
        assert content["std"][name] == pytest.approx(np.std(values))
    rows = list(csv.DictReader((folders / "out/m.csv").open()))
    assert [row["image"] for row in rows] == ["a", "b", "c", "mean"]
    assert float(rows[1]["VIF"]) == pytest.approx(expected[1]["VIF"])
    table = capsys.readouterr().out
    assert "protocol ddfm, 3 images" in table and f"{content['mean']['EN']:.4f}" in table


def test_workers_protocol_and_choice_of_metrics(folders: Path):
    assert run(folders, "--workers", "2", "--protocol", "standard", "--metrics", "ssim,Qabf") == 0
    content = report(folders)
    assert content["protocol"] == "standard" and list(content["mean"]) == ["SSIM", "Qabf"]
    expected = evaluate(*triple(0), ["SSIM", "Qabf"], "standard")
    assert content["images"]["a"] == pytest.approx(expected)


def test_cropped_results_are_compared_with_the_same_crop(folders: Path):
    Image.fromarray(picture(0, (70, 100))[:64, :96]).save(folders / "fused/a.png")
    assert run(folders) == 0
    fused, ir, vi = (image[:64, :96] for image in triple(0))
    expected = evaluate(fused, ir, vi)
    assert report(folders)["images"]["a"] == pytest.approx(expected)


def test_files_that_do_not_fit_are_named(folders: Path, capsys: pytest.CaptureFixture[str]):
    Image.fromarray(picture(0, (60, 100))).save(folders / "fused/a.png")
    (folders / "vi/b.png").unlink()
    Image.fromarray(picture(0)).save(folders / "fused/extra.png")
    (folders / "ir/c.png").write_bytes(b"none")
    assert run(folders) == 2
    error = capsys.readouterr().err
    for word in (
        "a.png is (60, 100)",
        "there is no b.* in",
        "there is no extra.* in",
        "c.png: not a readable",
    ):
        assert word in error
    Image.fromarray(picture(7, (70, 100))).save(folders / "ir/c.png")
    assert run(folders) == 1
    assert list(report(folders)["images"]) == ["c"]
    assert set(report(folders)["problems"]) == {"a", "b", "extra"}


def test_nothing_to_evaluate(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert run(folders, "--fused", str(folders / "none")) == 2
    assert "none is not a folder" in capsys.readouterr().err


def test_infinite_values_stay_valid_json(folders: Path):
    for side in ("ir", "vi"):
        Image.fromarray(picture(0, (70, 100))).save(folders / side / "a.png")
    assert run(folders, "--metrics", "PSNR") == 0
    content = report(folders)
    assert content["images"]["a"]["PSNR"] is None and content["mean"]["PSNR"] is None
    assert math.isfinite(content["images"]["b"]["PSNR"])


def test_wrong_metric_is_named(folders: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        run(folders, "--metrics", "EN,FID")
    assert stopped.value.code == 2 and "unknown metric 'fid'" in capsys.readouterr().err
