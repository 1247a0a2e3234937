"""``python evaluate.py``: tables, reports, crops, and files that do not fit."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from tests.util.evaluation.test_metrics import picture
from util.evaluation.metrics import METRICS, evaluate
from util.images.image_io import most_pixels, pixel_limit


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


@pytest.mark.parametrize("several", [False, True])
def test_the_limit_of_pixels(folders: Path, capsys: pytest.CaptureFixture[str], several: bool):
    """It refuses what is larger, in threads as in one; and what is allowed is read by the report too."""
    workers = ("--workers", "2" if several else "1")
    assert run(folders, *workers, "--max_pixels", str(70 * 100 // 2 - 1)) == 2
    error = capsys.readouterr().err
    assert "a.png" in error and "pixels" in error and "--max_pixels" in error
    assert run(folders, *workers, "--max_pixels", str(70 * 100), "--report", str(folders / "r.html")) == 0
    with pixel_limit(3000):
        assert run(folders, *workers) == 2
        assert run(folders, *workers, "--max_pixels", "7000", "--report", str(folders / "r.html")) == 0
        assert most_pixels() == 3000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_table_that_cannot_be_printed_is_no_success(folders: Path):
    """The files are written all the same."""
    line = [part for side in ("ir", "vi") for part in (f"--{side}", str(folders / side))]
    for more in (["--fused", str(folders / "fused")], ["--method", f"ours={folders / 'fused'}"]):
        written = folders / "written.json"
        command_line = [
            sys.executable,
            str(command.ROOT / "evaluate.py"),
            *line,
            *more,
            "--json",
            str(written),
        ]
        with open("/dev/full", "w") as full:  # noqa: PTH123
            done = subprocess.run(command_line, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "cannot be printed (No space left on device)" in done.stderr
        written.unlink()


def test_an_interruption_is_told(folders: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("util.cli.evaluate_methods.compare", interrupted)
    assert run(folders) == 130


def test_a_report_that_cannot_be_written(folders: Path, capsys: pytest.CaptureFixture[str]):
    (folders / "file").write_text("")
    assert run(folders, "--report", str(folders / "file/r.html")) == 1
    error = capsys.readouterr().err
    assert "a report cannot be written" in error and str(folders / "file") in error


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path):
    """At most by what is kept of an image, its scores: 100 KiB each would be far too much, and an image has 1 MiB."""
    resource = pytest.importorskip("resource", reason="needs a system that tells the memory of a process")
    assert resource
    sides = [tmp_path / side for side in ("fused", "ir", "vi")]
    for number, side in enumerate(sides):
        side.mkdir()
        Image.fromarray(picture(number, (320, 400))).save(side / "0.png")
        for index in range(1, 60):
            (side / f"{index}.png").symlink_to("0.png")
    code = """if True:
        import resource, sys, evaluate
        status = evaluate.main(sys.argv[1:])
        print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        sys.exit(status)"""
    peaks = []
    for count in (60, 20):
        for side in sides:
            for index in range(count, 60):
                (side / f"{index}.png").unlink()
        line = [part for side in sides for part in (f"--{side.name}", str(side))]
        line += ["--metrics", "EN,SSIM", "--workers", "1"]  # two at once may meet at their peaks
        done = subprocess.run(
            [sys.executable, "-c", code, *line], cwd=command.ROOT, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.split()[-1]))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    assert peaks[0] - peaks[1] < 40 * 100 * 1024 / unit
