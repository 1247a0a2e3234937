"""What is said where folders are missing, have other names, or are in each other's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from util.images.advice import missing_folder, other_layout, swapped


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "pairs/infrared/a.png",
        "pairs/visible/a.png",
        "flat/a.jpg",
        "cam/thermal/a.tif",
        "cam/rgb/a.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")


@pytest.mark.parametrize(
    "folder, words",
    [
        ("pears", "pears is not a folder: pears is not there; did you mean pairs?"),
        ("xyz", "xyz is not a folder: xyz is not there; beside it: cam, flat, pairs"),
        ("pairs/infrard", "did you mean infrared?"),
        ("xyz/ir", "xyz/ir is not a folder: xyz is not there; beside it: cam"),
        ("flat/a.jpg", "flat/a.jpg is not a folder: flat/a.jpg is a file"),
        ("flat/a.jpg/ir", "flat/a.jpg/ir is not a folder: flat/a.jpg is a file"),
        ("flat/ir", "flat/ir is not a folder: flat/ir is not there"),
    ],
)
def test_missing_folders(folder: str, words: str):
    assert words in missing_folder(Path(folder))


def test_many_folders_are_not_all_named():
    for number in range(20):
        Path(f"many/{number:02d}").mkdir(parents=True)
    assert missing_folder(Path("many/x")).endswith("10, 11 and others")


@pytest.mark.parametrize(
    "root, words",
    [
        ("cam", "; name its two folders: --ir cam/thermal --vi cam/rgb"),
        ("flat", "; flat holds images itself"),
        ("nowhere", ""),
        (".", ""),
    ],
)
def test_other_layouts(root: str, words: str):
    said = other_layout(Path(root))
    assert said.startswith(words) and bool(said) == bool(words) and "infrared first" not in said


def test_one_name_tells_both():
    Path("cam/rgb").rename("cam/left")
    assert other_layout(Path("cam")) == "; name its two folders: --ir cam/thermal --vi cam/left"


def test_names_that_tell_nothing():
    Path("cam/thermal").rename("cam/left")
    Path("cam/rgb").rename("cam/right")
    assert other_layout(Path("cam")) == "; name its two folders: --ir cam/left --vi cam/right, infrared first"


@pytest.mark.parametrize(
    "ir, vi, expected",
    [
        ("visible", "infrared", True),
        ("a/vi", "a/ir", True),
        ("MRI.png", "CT.png", True),
        ("frame_vis_1.png", "frame_ir_1.png", True),
        ("ir", "vi", False),
        ("rgb", "left", False),
        ("left", "thermal", False),
        ("ir_vs_rgb", "ir_2", False),
        ("vi/test", "ir/test", False),
    ],
)
def test_swapped_only_where_both_names_say_so(ir: str, vi: str, expected: bool):
    assert swapped(Path(ir), Path(vi)) is expected
