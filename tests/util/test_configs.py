"""Configurations by name from any folder, and what a wrong name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from util.configs import config_names, find_config
from util.files import project_root

CONFIGS = project_root() / "configs"


@pytest.mark.parametrize(
    "wanted, path",
    [
        ("local", "fusion_config_local.yaml"),
        ("fusion_config_local", "fusion_config_local.yaml"),
        ("fusion_config", "fusion_config.yaml"),
        ("exp_1_paper", "ablation/exp_1_paper.yaml"),
        ("fusion_config_local.yaml", "fusion_config_local.yaml"),
        ("exp_1_paper.yaml", "ablation/exp_1_paper.yaml"),
        ("configs/ablation/exp_1_paper.yaml", "ablation/exp_1_paper.yaml"),
        (Path("configs/fusion_config.yaml"), "fusion_config.yaml"),
    ],
)
def test_from_any_folder(wanted: Path | str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("fusion", wanted) == CONFIGS / path


def test_what_lies_in_the_working_directory_goes_before_what_comes_with_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("fusion_config.yaml", "local"):
        (tmp_path / name).write_text("")
    assert find_config("fusion", "fusion_config.yaml") == Path("fusion_config.yaml")
    assert find_config("fusion", "local") == CONFIGS / "fusion_config_local.yaml"  # a name is a name
    assert find_config("fusion", "./local") == find_config("fusion", Path("local")) == Path("local")


@pytest.mark.parametrize(
    "wanted, words",
    [
        ("locl", ["there is no fusion configuration 'locl'", "local_fast, paper", "did you mean local?"]),
        ("fusion_config_papr.yaml", ["fusion_config_papr.yaml: it is not there", "did you mean paper?"]),
        ("/nowhere/else.yaml", ["cannot read the configuration file /nowhere/else.yaml"]),
    ],
)
def test_a_wrong_name_lists_what_there_is(wanted: str, words: list[str]):
    with pytest.raises(ValueError) as error:
        find_config("fusion", wanted)
    assert all(word in str(error.value) for word in [*words, "exp_4_released"]), error.value


def test_every_file_has_a_name_of_its_own():
    found = [path for kind in ("fusion", "diffusion", "model") for path in config_names(kind).values()]
    assert sorted(found) == sorted([*CONFIGS.glob("*_config*.yaml"), *CONFIGS.glob("ablation/*.yaml")])
