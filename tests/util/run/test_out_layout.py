"""``--out_layout``: results in the folders, names and sizes of a data set, whose labels stay valid."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
from tests.conftest import make_pair
from util.images.image_io import read_image
from util.images.same_form import described_as, write_as_named
from util.run.settings import FolderSettings

SIZE = (70, 100)  # no multiple of 32
LABELS = """<annotation><size><width>100</width><height>70</height></size><object><name>person</name>
<bndbox><xmin>10</xmin><ymin>7</ymin><xmax>30</xmax><ymax>21</ymax></bndbox></object></annotation>"""
PAGE = Path(__file__).parents[3] / "docs/detection.md"


def lay_out(tmp_path: Path, sides: dict[str, str], stems: Sequence[str] = ("a", "b")) -> Path:
    """A data set below ``tmp_path`` with images where ``sides`` says: folder, star for the stem, suffix."""
    root = tmp_path / "set"
    for stem in stems:
        make_pair(tmp_path / "made", stem, SIZE, "vi")
        for side, pattern in sides.items():
            path = root / pattern.replace("*", stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(tmp_path / f"made/{side}/{stem}.png") as image:
                image.save(path)
    return root


def run(tmp_path: Path, *more: str) -> int:
    return sample.main([*more, "--save_dir", str(tmp_path / "out"), "--preset", "local_fast"])


def tree(folder: Path) -> set[str]:
    """All files, those behind links too."""
    walked = os.walk(folder, followlinks=True)
    return {str((Path(place) / name).relative_to(folder)) for place, _, names in walked for name in names}


# As distributed, with the files of labels that each has.
LAYOUTS = {
    "LLVIP": (
        {"ir": "infrared/test/*.jpg", "vi": "visible/test/*.jpg"},
        ["Annotations/a.xml", "Annotations/b.xml"],
        {"visible/test/a.jpg", "visible/test/b.jpg"},
    ),
    "M3FD": (
        {"ir": "Ir/*.png", "vi": "Vis/*.png"},
        ["Annotation/a.xml", "labels/a.txt"],
        {"Vis/a.png", "Vis/b.png"},
    ),
    "MSRS": (
        {"ir": "test/ir/*.png", "vi": "test/vi/*.png"},
        ["test/Segmentation_labels/a.png", "test/vi/a.txt"],
        {"test/vi/a.png", "test/vi/b.png"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_of_a_data_set(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sides, labels, fused = LAYOUTS[name]
    root = lay_out(tmp_path, sides)
    for label in labels:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        (root / label).write_text(label)
    (root / ".hidden").write_text("")
    assert run(tmp_path, "--input", str(root), "--out_layout") == 0
    made = tmp_path / "out/dataset"
    assert f"results: {made}" in capsys.readouterr().out
    assert tree(made) == fused | set(labels)
    assert all((made / label).read_text() == label for label in labels)
    for path in sorted(fused):
        image = read_image(made / path)
        assert image.size == SIZE
        colour = read_image(tmp_path / f"out/color/{Path(path).stem}.png")
        assert image.rgb is not None and colour.rgb is not None
        with Image.open(made / path) as written:
            assert written.format == ("JPEG" if path.endswith("jpg") else "PNG")
        apart = np.abs(image.rgb.astype(int) - colour.rgb)
        assert apart.mean() < 4 if path.endswith("jpg") else apart.max() == 0


def test_labels_of_the_infrared_images(tmp_path: Path):
    """FLIR as it is aligned: both kinds in one folder, the labels those of the thermal images."""
    root = lay_out(tmp_path, {"ir": "JPEGImages/*_PreviewData.jpeg", "vi": "JPEGImages/*_RGB.jpg"})
    (root / "Annotations").mkdir()
    (root / "Annotations/a_PreviewData.xml").write_text(LABELS)
    folder = str(root / "JPEGImages")
    line = ["--ir", folder, "--vi", folder, "--match", "*_PreviewData=*_RGB", "--out_layout", "ir"]
    assert run(tmp_path, *line) == 0
    assert tree(tmp_path / "out/dataset") == {
        "JPEGImages/a_PreviewData.jpeg",
        "JPEGImages/b_PreviewData.jpeg",
        "Annotations/a_PreviewData.xml",
    }


def test_other_parts_and_unfused_images_are_not_passed_off(tmp_path: Path):
    root = lay_out(tmp_path, {"ir": "infrared/test/*.jpg", "vi": "visible/test/*.jpg"})
    for side in ("infrared", "visible"):
        (root / side / "train").mkdir()
        (root / f"{side}/train/c.jpg").write_bytes((root / f"{side}/test/a.jpg").read_bytes())
    line = ["--ir", str(root / "infrared/test"), "--vi", str(root / "visible/test"), "--out_layout"]
    assert run(tmp_path, *line) == 0
    assert tree(tmp_path / "out/dataset") == {"visible/test/a.jpg", "visible/test/b.jpg"}


def test_what_is_there_is_kept_and_what_is_not_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = lay_out(tmp_path, {"ir": "ir/*.bmp", "vi": "vi/*.jpg"})
    line = ["--input", str(root), "--out_layout"]
    assert run(tmp_path, *line) == 0 and run(tmp_path, *line) == 0
    assert "0 fused, 2 skipped" in capsys.readouterr().out
    (tmp_path / "out/dataset/vi/b.jpg").unlink()
    assert run(tmp_path, *line) == 0
    assert "1 fused, 1 skipped" in capsys.readouterr().out
    assert run(tmp_path, *line, "--tone", "0.7") == 0
    assert "2 fused, 0 skipped" in capsys.readouterr().out


def test_results_inside_the_data_set_do_not_hold_themselves(tmp_path: Path):
    root = lay_out(tmp_path, {"ir": "ir/*.png", "vi": "vi/*.png"})
    (root / "labels").mkdir()
    line = ["--input", str(root), "--save_dir", str(root / "fused"), "--preset", "local_fast", "--out_layout"]
    assert sample.main(line) == 0 and sample.main(line) == 0
    assert {path.name for path in (root / "fused/dataset").iterdir()} == {"labels", "vi"}


def test_what_has_no_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = lay_out(tmp_path, {"ir": "ir/*.png", "vi": "vi/*.png"})
    pair = ["--ir", str(root / "ir/a.png"), "--vi", str(root / "vi/a.png"), "--out_layout"]
    assert run(tmp_path, *pair) == 2
    assert "out_layout is for the folders of a data set" in capsys.readouterr().err
    assert run(tmp_path, "--input", str(root), "--out_layout", "ir", "--register", "translation") == 2
    assert "goes without register" in capsys.readouterr().err
    with pytest.raises(ValueError, match="out_layout is 'mri', but must be vi, ir or None"):
        FolderSettings(tmp_path, out_layout="mri")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"])
@pytest.mark.parametrize("shape", [(33, 40), (33, 40, 3)])
def test_every_format_that_is_read_is_written(suffix: str, shape: tuple[int, ...], tmp_path: Path):
    image = np.linspace(0, 255, int(np.prod(shape))).astype(np.uint8).reshape(shape)
    path = tmp_path / f"x.{suffix}"
    write_as_named(path, image, "a" * 64)
    assert described_as(path) == ("" if suffix == "bmp" else "a" * 64)
    with Image.open(path) as written:  # WebP has no grey
        apart = np.abs(np.asarray(written.convert("RGB" if image.ndim == 3 else "L")).astype(int) - image)
    assert written.size == (40, 33) and (apart.max() == 0 if suffix[0] != "j" else apart.mean() < 3)


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Labels written for a detector lie beside the fused images, in parts of their size."""
    root = lay_out(tmp_path, {"ir": "infrared/test/*.jpg", "vi": "visible/test/*.jpg"})
    (root / "Annotations").mkdir()
    for stem in ("a", "b"):
        (root / f"Annotations/{stem}.xml").write_text(LABELS)
    assert run(tmp_path, "--input", str(root), "--out_layout") == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").rename(tmp_path / "results")
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    made = tmp_path / "results/dataset"
    assert (made / "visible/test/a.txt").read_text().split() == ["0", "0.2", "0.2", "0.2", "0.2"]
    assert not list(root.rglob("*.txt")) and "0: person" in (made / "data.yaml").read_text()
