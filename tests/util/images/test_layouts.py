"""Finding data sets in the layouts in which they are distributed; the files are empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from util.images.layouts import find_dataset, find_named
from util.images.named_datasets import TABLE_DATASETS
from util.images.pairs import InputError


def make(root: Path, *folders: str, suffix: str = ".png") -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / f"1{suffix}").touch()
    return root


@pytest.mark.parametrize(
    ("folders", "ir", "vi"),
    [
        (["ir", "vi"], "ir", "vi"),
        (["IR", "Vi"], "IR", "Vi"),
        (["test/ir", "test/vi", "train/ir", "train/vi", "test/Segmentation_labels"], "test/ir", "test/vi"),
        (["test/ir", "test/vi", "detection/ir", "detection/vi"], "test/ir", "test/vi"),
        (["train/ir", "train/vi"], "train/ir", "train/vi"),
        (["Ir", "Vis", "Annotation"], "Ir", "Vis"),
        (
            ["M3FD_Fusion/Ir", "M3FD_Fusion/Vis", "M3FD_Detection/Ir", "M3FD_Detection/Vis"],
            "M3FD_Fusion/Ir",
            "M3FD_Fusion/Vis",
        ),
        (["cropinfrared", "crop_LR_visible"], "cropinfrared", "crop_LR_visible"),
        (["cropinfrared", "crop_HR_visible"], "cropinfrared", "crop_HR_visible"),
        (
            ["cropinfrared", "crop_HR_visible", "crop_LR_visible"],
            "cropinfrared",
            "crop_LR_visible",
        ),
        (
            ["infrared/train", "infrared/test", "visible/train", "visible/test", "Annotations"],
            "infrared/test",
            "visible/test",
        ),
        (["CT-MRI/CT", "CT-MRI/MRI"], "CT-MRI/CT", "CT-MRI/MRI"),
        (["PET", "MRI"], "PET", "MRI"),
        (["SPECT", "MRI"], "SPECT", "MRI"),
        (
            ["CT-MRI/train/CT", "CT-MRI/train/MRI", "CT-MRI/test/CT", "CT-MRI/test/MRI"],
            "CT-MRI/test/CT",
            "CT-MRI/test/MRI",
        ),
    ],
)
def test_layouts(tmp_path: Path, folders: list[str], ir: str, vi: str):
    root = make(tmp_path, *folders)
    found = find_dataset(root)
    assert (found.ir, found.vi) == (root / ir, root / vi)


def test_the_part_that_was_taken_is_told(tmp_path: Path):
    root = make(tmp_path, "test/ir", "test/vi", "train/ir", "train/vi")
    note = find_dataset(root).note
    assert f"{root / 'test/ir'} is taken" in note and f"not {root / 'train/ir'}" in note
    assert find_dataset(make(tmp_path / "other", "ir", "vi")).note == ""


def test_several_data_sets_are_named(tmp_path: Path):
    root = make(
        tmp_path, "CT-MRI/CT", "CT-MRI/MRI", "PET-MRI/PET", "PET-MRI/MRI", "MSRS/test/ir", "MSRS/test/vi"
    )
    with pytest.raises(InputError, match="several data sets") as caught:
        find_dataset(root)
    for path in ("CT-MRI/CT", "PET-MRI/PET", "MSRS/test/ir"):
        assert str(root / path) in str(caught.value)


def test_one_medical_folder_with_two_kinds_is_ambiguous(tmp_path: Path):
    with pytest.raises(InputError, match="several data sets"):
        find_dataset(make(tmp_path, "CT", "PET", "MRI"))


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ([], ["it holds no folder", "ir + vi", "cropinfrared + crop_lr_visible"]),
        (["ir", "photos"], ["it holds the folders ir, photos"]),
        (["Athena_images/bunker", "Triclobs_images/a"], ["TNO's original folder tree", "folder vi"]),
        (["a/b/c/d/e/ir", "a/b/c/d/e/vi"], ["4 levels below"]),
    ],
)
def test_nothing_found_says_what_was_looked_for(tmp_path: Path, folders: list[str], words: list[str]):
    with pytest.raises(InputError) as caught:
        find_dataset(make(tmp_path, *folders))
    for word in (*words, str(tmp_path)):
        assert word in str(caught.value)


def test_folders_without_images_do_not_count(tmp_path: Path):
    make(tmp_path, "ir", "vi", suffix=".txt")
    with pytest.raises(InputError, match="no pair of folders with images"):
        find_dataset(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_dataset(tmp_path / "none")


ZOO = {
    "MSRS": ("MSRS-main/test/ir", "MSRS-main/test/vi"),
    "M3FD": ("M3FD/M3FD_Fusion/Ir", "M3FD/M3FD_Fusion/Vis"),
    "RoadScene": ("RoadScene-master/cropinfrared", "RoadScene-master/crop_LR_visible"),
    "TNO": ("TNO_25/ir", "TNO_25/vi"),
    "MRI-CT": ("Harvard/MyDatasets/CT-MRI/test/CT", "Harvard/MyDatasets/CT-MRI/test/MRI"),
    "MRI-PET": ("Harvard/PET-MRI/PET", "Harvard/PET-MRI/MRI"),
    "MRI-SPECT": ("MRI_SPECT/ir", "MRI_SPECT/vi"),
}


def test_every_data_set_of_the_tables_is_found_by_name(tmp_path: Path):
    root = make(tmp_path, *(folder for pair in ZOO.values() for folder in pair))
    make(
        root, "MSRS-main/train/ir", "MSRS-main/train/vi", "M3FD/M3FD_Detection/Ir", "M3FD/M3FD_Detection/Vis"
    )
    make(root, "Harvard/CT-MRI/CT", "Harvard/CT-MRI/MRI")
    assert set(ZOO) == set(TABLE_DATASETS)
    for name, (ir, vi) in ZOO.items():
        found = find_named(name, root)
        assert (found.name, found.ir, found.vi) == (name, root / ir, root / vi)
    assert str(root / "MSRS-main/train/ir") in find_named("MSRS", root).note


def test_the_root_may_be_the_data_set_itself(tmp_path: Path):
    root = make(tmp_path / "TNO", "ir", "vi")
    assert find_named("TNO", root).ir == root / "ir"
    assert (
        find_named("RoadScene", make(tmp_path / "x", "cropinfrared", "crop_LR_visible")).name == "RoadScene"
    )


@pytest.mark.parametrize("name", TABLE_DATASETS)
def test_a_missing_data_set_is_named_with_its_home(tmp_path: Path, name: str):
    make(tmp_path, "other/ir", "other/vi")
    with pytest.raises(InputError, match=f"{name} is not in") as caught:
        find_named(name, tmp_path)
    assert TABLE_DATASETS[name].home in str(caught.value)
