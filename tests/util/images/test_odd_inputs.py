"""Inputs as users have them, odd and bad, through ``sample.py``: fused, or one clear line each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import sample
from tests import odd_files as odd
from tests.conftest import PriorFiles
from tests.odd_files import HEIGHT, WIDTH, scene

Run = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    odd.good_pair(tmp_path / "input")
    return tmp_path / "input"


@pytest.fixture
def run(tmp_path: Path, tiny_prior: PriorFiles) -> Run:
    """Runs sample.py on ``input`` with the tiny prior, one step and padding, which keeps sizes."""
    (tmp_path / "one_step.yaml").write_text("timestep_respacing: 1\n")

    def run(*more: str, **fusion: Any) -> int:
        (tmp_path / "fusion.yaml").write_text(yaml.safe_dump({"fit": "pad", **fusion}))
        given = {
            "--model_config": tiny_prior.config,
            "--diffusion_config": tmp_path / "one_step.yaml",
            "--fusion_config": tmp_path / "fusion.yaml",
            "--input": tmp_path / "input",
            "--save_dir": tmp_path / "output",
            "--device": "cpu",
        }
        return sample.main([*(str(part) for item in given.items() for part in item), *more])

    return run


def failures(tmp_path: Path) -> dict[str, str]:
    record = json.loads((tmp_path / "output/run.json").read_text())
    return {pair["stem"]: pair["reason"] for pair in record["pairs"] if pair["status"] == "failed"}


def result(tmp_path: Path, kind: str = "recon", stem: str = "x") -> np.ndarray:
    with Image.open(tmp_path / "output" / kind / f"{stem}.png") as image:
        return np.asarray(image)


DEEP = scene().astype(np.uint16) * 3 + 30000
HOT = (np.arange(WIDTH * HEIGHT) == 70).reshape(HEIGHT, WIDTH).astype(np.uint16)
# name: (maker, whether the result has colour)
ODD: dict[str, tuple[odd.Maker, bool]] = {
    "JPEG beside PNG": (odd.vi_as("x.jpg"), True),
    "progressive JPEG": (odd.vi_as("x.jpeg", progressive=True), True),
    "grey JPEG": (odd.vi_as("x.jpg", channels=1), False),
    "BMP": (odd.vi_as("x.bmp"), True),
    "TIFF": (odd.vi_as("x.tif"), True),
    "compressed TIFF": (odd.vi_as("x.tiff", compression="tiff_lzw"), True),
    "WebP": (odd.vi_as("x.webp"), True),
    "lossless WebP with alpha": (odd.vi_as("x.webp", mode="RGBA", lossless=True), True),
    "extension in capitals": (odd.renamed("vi", "x.PNG"), False),
    "JPEG called PNG": (odd.vi_as("x.png", format="JPEG"), True),
    "palette": (odd.vi_as("x.png", mode="P"), True),
    "palette with a transparent entry": (odd.vi_as("x.png", mode="P", transparency=0), True),
    "alpha": (odd.vi_as("x.png", mode="RGBA"), True),
    "grey with alpha": (odd.vi_as("x.png", mode="LA"), False),
    "transparent margin": (odd.transparent_margin, True),
    "one bit": (odd.vi_as("x.png", mode="1"), False),
    "CMYK JPEG": (odd.vi_as("x.jpg", mode="CMYK"), True),
    "CMYK TIFF": (odd.vi_as("x.tif", mode="CMYK"), True),
    "YCbCr TIFF": (odd.vi_as("x.tif", mode="YCbCr"), True),
    "turned camera": (odd.vi_as("x.jpg", exif=odd.quarter_turn()), True),
    "turned camera, TIFF": (odd.vi_as("x.tif", exif=odd.quarter_turn()), True),
    "grey stored as RGB": (odd.vi_as("x.png", channels=1, mode="RGB"), False),
    "16-bit PNG": (odd.ir_values(DEEP, "x.png"), False),
    "16-bit TIFF": (odd.ir_values(DEEP), False),
    "16-bit TIFF, big-endian": (odd.ir_values(DEEP, big_endian=True), False),
    "16-bit PNG in colour": (odd.content(odd.deep_colour_png(), "vi"), True),
    "Hounsfield units": (odd.ir_values(scene().astype(np.int32) * 8 - 1000), False),
    "float TIFF of degrees": (odd.ir_values(scene().astype(np.float32) / 10 - 5), False),
    "float TIFF from 0 to 1": (odd.ir_values(scene().astype(np.float32) / 255), False),
    "uint32 TIFF": (odd.tiff_values(scene().astype(np.uint32) * 9 + 2**31 - 500), False),
    "int8 TIFF": (odd.tiff_values((scene().astype(np.int16) - 128).astype(np.int8)), False),
    "float16 TIFF": (odd.tiff_values(scene().astype(np.float16)), False),
    "float64 TIFF, deflate": (odd.tiff_values(scene().astype(np.float64) / 7, compression="zlib"), False),
    "16-bit TIFF, white first": (odd.tiff_values(DEEP, photometric="miniswhite"), False),
    "16-bit TIFF in colour": (odd.tiff_values(scene(3).astype(np.uint16) * 200, "vi", "rgb"), True),
    "one hot pixel": (odd.ir_values(HOT), False),
    "spaces and dots": (odd.both_renamed("a b.c'd.png", "a b.c'd.png"), False),
    "a name like a flag": (odd.both_renamed("--help.png", "--help.png"), False),
    "a long name": (odd.both_renamed("n" * 240 + ".png", "n" * 240 + ".png"), False),
    "composed and decomposed umlaut": (odd.both_renamed(f"{odd.COMPOSED}.png", f"{odd.DECOMPOSED}.png"), False),
    "link": (odd.good_link, False),
    "other files around": (odd.also("ir/.DS_Store", "ir/Thumbs.db", "vi/._x.png", "vi/notes.txt"), False),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_but_good(name: str, folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]):
    maker, colour = ODD[name]
    maker(folder)
    assert run() == 0, capsys.readouterr().err
    (fused,) = (tmp_path / "output/recon").iterdir()
    with Image.open(fused) as image:
        assert image.size == (WIDTH, HEIGHT) and image.getextrema() == (0, 255)
    assert (tmp_path / "output/color" / fused.name).exists() == colour


def test_a_name_that_is_no_text(folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]):
    if sys.platform != "linux":
        pytest.skip("file systems elsewhere refuse such names")
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1
    odd.both_renamed(name, name)(folder)
    assert run() == 0
    assert (tmp_path / "output/recon" / name).exists()


# name: (maker, words of the reason)
BAD: dict[str, tuple[odd.Maker, list[str]]] = {
    "empty": (odd.content(b""), ["ir/x.png", "empty", "replace"]),
    "text in disguise": (odd.content(b"<html>404 Not Found</html>"), ["ir/x.png", "no PNG, JPEG", "replace"]),
    "GIF in disguise": (odd.content(b"GIF89a" + bytes(100)), ["ir/x.png", "no PNG, JPEG", "convert"]),
    "PostScript in disguise": (odd.content(b"%!PS-Adobe-3.0 EPSF-3.0\n"), ["ir/x.png", "no PNG, JPEG"]),
    "random bytes": (odd.content(np.random.default_rng(1).bytes(5000), name="x.tif"), ["ir/x.tif", "no PNG"]),
    "truncated PNG": (odd.truncated("png"), ["vi/x.png", "not a readable image", "whole copy"]),
    "truncated JPEG": (odd.truncated("jpg"), ["vi/x.jpg", "not a readable image", "whole copy"]),
    "truncated TIFF": (odd.truncated("tif"), ["vi/x.tif", "not a readable image"]),
    "truncated WebP": (odd.truncated("webp"), ["vi/x.webp", "not a readable image"]),
    "truncated BMP": (odd.truncated("bmp"), ["vi/x.bmp", "not a readable image"]),
    "header alone": (odd.content(odd.png_chunks(64, 40, 8, 0)), ["ir/x.png", "not a readable image"]),
    "flipped bit": (odd.flipped_bit, ["ir/x.png", "not a readable image"]),
    "other size": (odd.ir_values(scene()[:, :50], "x.png"), ["50x40", "64x40", "register"]),
    "turned": (odd.ir_values(scene().T.copy(), "x.png"), ["40x64", "64x40", "register"]),
    "no pixels to speak of": (odd.content(odd.png_chunks(0, 0, 8, 0)), ["ir/x.png", "not a readable image"]),
    "NaN": (odd.ir_values(odd.with_value(np.nan)), ["ir/x.tif", "NaN", "replace"]),
    "infinite": (odd.ir_values(odd.with_value(-np.inf)), ["ir/x.tif", "infinite", "replace"]),
    "constant": (odd.ir_values(np.full((40, 64), 7, np.uint8), "x.png"), ["ir/x.png", "look the same"]),
    "constant, 16 bits": (odd.ir_values(np.full((40, 64), 7000, np.uint16)), ["ir/x.tif", "look the same"]),
    "constant, float": (odd.ir_values(np.zeros((40, 64), np.float32)), ["ir/x.tif", "look the same"]),
    "wholly transparent": (odd.transparent, ["vi/x.png", "look the same"]),
    "animated PNG": (odd.frames("x.png"), ["ir/x.png", "2 frames", "save the one"]),
    "animated WebP": (odd.frames("x.webp"), ["ir/x.webp", "2 frames", "save the one"]),
    "two pages": (odd.frames("x.tif"), ["ir/x.tif", "2 frames or pages", "save the one"]),
    "stack": (odd.tiff_values(np.stack([DEEP] * 3)), ["ir/x.tif", "3 frames or pages", "save the one"]),
    "complex TIFF": (odd.tiff_values(scene().astype(np.complex64)), ["ir/x.tif", "complex64", "grey or RGB"]),
    "decompression bomb": (odd.content(odd.bomb()), ["ir/x.png", "too many pixels", "shrink"]),
    "text bomb": (odd.content(odd.text_bomb()), ["ir/x.png", "not a readable image"]),
    "broken link": (odd.broken_link, ["ir/x.png", "broken link", "moved_away.png"]),
    "link to itself": (odd.link_loop, ["ir/x.png", "broken link"]),
    "folder": (odd.subfolder, ["ir/x.png", "a folder", "move it"]),
    "pipe": (odd.pipe, ["ir/x.png", "no regular file"]),
    "twins": (odd.also("ir/x.jpg"), ["ir/x.jpg", "ir/x.png", "same stem", "keep one"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_costs_only_its_pair(
    name: str, folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    odd.good_pair(folder, "good")
    maker, words = BAD[name]
    maker(folder)
    assert run() == 1
    captured = capsys.readouterr()
    reason = failures(tmp_path)["x"]
    assert all(word in reason for word in words), reason
    assert "\n" not in reason and " at 0x" not in reason
    assert f"failed: x: {reason}" in captured.out and f"ERROR: x: {reason}" in captured.err
    assert "Traceback" not in captured.err
    assert [path.name for path in (tmp_path / "output/recon").iterdir()] == ["good.png"]


def test_both_bad_are_both_named(folder: Path, tmp_path: Path, run: Run):
    odd.good_pair(folder, "good")
    odd.content(b"", "ir")(folder)
    odd.content(b"text", "vi")(folder)
    assert run() == 1
    assert "ir/x.png: the file is empty" in failures(tmp_path)["x"]
    assert "vi/x.png: not a readable image" in failures(tmp_path)["x"]


@pytest.mark.parametrize("side, other", [("ir", "vi"), ("vi", "ir")])
def test_no_partner(side: str, other: str, folder: Path, tmp_path: Path, run: Run):
    odd.renamed(side, "y.png")(folder)
    odd.good_pair(folder, "good")
    assert run() == 1
    assert f"{side}/y.png has no partner" in failures(tmp_path)["y"]
    assert f"{other}/x.png has no partner" in failures(tmp_path)["x"]


def test_names_that_differ_in_case_are_pointed_out(folder: Path, tmp_path: Path, run: Run):
    odd.both_renamed("IMG_1.png", "img_1.png")(folder)
    odd.good_pair(folder, "good")
    assert run() == 1
    assert "but img_1.png: rename one" in failures(tmp_path)["IMG_1"]


def test_smaller_than_32(folder: Path, tmp_path: Path, run: Run):
    odd.good_pair(folder, "good")
    for side in ("ir", "vi"):
        Image.fromarray(scene()[:31]).save(folder / side / "x.png")
    assert run() == 1
    assert "64x31; the smallest side possible is 32" in failures(tmp_path)["x"]
    for side in ("ir", "vi"):
        Image.fromarray(scene()[:32, :33]).save(folder / side / "x.png")
    assert run() == 0 and result(tmp_path).shape == (32, 33)


def test_no_permission(folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    odd.good_pair(folder, "good")
    (folder / "ir/x.png").chmod(0)
    if os.access(folder / "ir/x.png", os.R_OK):  # root may read everything
        read = Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path == folder / "ir/x.png":
                raise PermissionError(13, "Permission denied")
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", refuse)
    assert run() == 1
    assert "ir/x.png: cannot be read (permission denied); change" in failures(tmp_path)["x"]


@pytest.mark.parametrize(
    "missing, words",
    [
        ("input", ["input/ir is not a folder", "--input"]),
        ("both", ["no pair of folders", "ir + vi", "input"]),
        ("ir", ["input/ir is not a folder", "--ir"]),
        ("images", ["input/ir holds no image", ".png", ".tiff"]),
        ("partners", ["no pair to fuse", "input/ir", "input/vi", "has no partner"]),
    ],
)
def test_nothing_to_fuse(
    missing: str, words: list[str], folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    if missing == "partners":
        odd.renamed("ir", "y.png")(folder)
    else:
        (folder / "ir/x.png").unlink()
    if missing in ("input", "both", "ir"):
        (folder / "ir").rmdir()
    if missing in ("input", "both"):
        (folder / "vi/x.png").unlink()
        (folder / "vi").rmdir()
    if missing == "input":
        folder.rmdir()
    assert run() == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (tmp_path / "output").exists()


def test_folders_of_other_names(folder: Path, tmp_path: Path, run: Run):
    (folder / "ir").rename(tmp_path / "thermal")
    (folder / "vi").rename(tmp_path / "rgb")
    assert run("--ir", str(tmp_path / "thermal"), "--vi", str(tmp_path / "rgb")) == 0
    assert result(tmp_path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "ir, vi",
    [
        ("test/ir", "test/vi"),  # MSRS
        ("M3FD_Fusion/Ir", "M3FD_Fusion/Vis"),
        ("cropinfrared", "crop_LR_visible"),  # RoadScene
        ("infrared/test", "visible/test"),  # LLVIP
        ("PET-MRI/PET", "PET-MRI/MRI"),  # Harvard
    ],
)
def test_data_sets_as_distributed(ir: str, vi: str, folder: Path, tmp_path: Path, run: Run):
    for old, new in (("ir", ir), ("vi", vi)):
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)
    assert run() == 0
    assert result(tmp_path).shape == (HEIGHT, WIDTH)


def test_four_good_among_twenty_bad(
    folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    """What a folder of real life gives: 4 images, 20 named reasons, exit status 1."""
    names = list(BAD)[:20]
    for number, name in enumerate(names):
        corner = tmp_path / f"corner{number}"
        odd.good_pair(corner)
        BAD[name][0](corner)
        for side in ("ir", "vi"):
            for path in (corner / side).iterdir():
                path.rename(folder / side / path.name.replace("x", f"bad{number:02d}", 1))
    for side in ("ir", "vi"):
        (folder / side / "x.png").unlink()
    for number in range(4):
        odd.good_pair(folder, f"good{number}")
    assert run() == 1
    images = sorted(path.name for path in (tmp_path / "output/recon").iterdir())
    assert images == [f"good{number}.png" for number in range(4)]
    reasons = failures(tmp_path)
    assert sorted(reasons) == [f"bad{number:02d}" for number in range(20)]
    out = capsys.readouterr().out
    assert "4 fused, 0 skipped, 20 failed" in out
    assert all(f"failed: {stem}: {reason}" in out for stem, reason in reasons.items())


def test_a_fixed_range_keeps_a_sequence_comparable(folder: Path, tmp_path: Path, run: Run):
    """Two frames of one camera, the second twice as warm: percentiles would make them alike."""
    for name, values in (("x", scene().astype(np.uint16)), ("y", scene().astype(np.uint16) * 2)):
        Image.fromarray(values).save(folder / "ir" / f"{name}.png")
    Image.fromarray(scene(seed=1)).save(folder / "vi/y.png")
    assert run() == 0
    assert np.abs(result(tmp_path, stem="x").astype(int) - result(tmp_path, stem="y")).max() <= 2
    assert run(ir_range=[0, 600]) == 0
    assert np.abs(result(tmp_path, stem="x").astype(int) - result(tmp_path, stem="y")).mean() > 10


@pytest.mark.parametrize("values", [[5], [3, 3], [9, 1], [1, 2, 3], ["a", "b"], 7])
def test_a_range_that_is_none(values: Any, folder: Path, run: Run, capsys: pytest.CaptureFixture[str]):
    assert run(ir_range=values) == 2
    assert "ir_range" in capsys.readouterr().err


def test_values_beyond_the_fixed_range(folder: Path, tmp_path: Path, run: Run):
    odd.good_pair(folder, "good")
    odd.ir_values(DEEP)(folder)
    assert run(ir_range=[0, 100]) == 1
    assert "ir/x.tif" in failures(tmp_path)["x"] and "look the same" in failures(tmp_path)["x"]


def test_a_dry_run_finds_what_is_bad(
    folder: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    odd.good_pair(folder, "good")
    odd.content(b"")(folder)
    assert run("--dry_run") == 1
    error = capsys.readouterr().err
    assert "would fuse" in error and "ir/x.png: the file is empty" in error
    assert not (tmp_path / "output").exists()
