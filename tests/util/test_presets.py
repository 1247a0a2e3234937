"""Presets: what is in each, what goes in its place, and the same from Python and the command line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import ddfm
import sample
from tests.conftest import PriorFiles, make_pair
from util.cli.sample_arguments import sample_parser
from util.config_io import read_yaml
from util.configs import config_names
from util.files import project_root
from util.images.png import read_png_text
from util.presets import presets

ROOT = project_root()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is not the project's, with a pair."""
    make_pair(tmp_path / "input", "a", (70, 100), colour="vi")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*more: str) -> int:
    return sample.main(["--input", "input", "--save_dir", "out", "--device", "cpu", *more])


def made() -> dict[str, Any]:
    return json.loads(read_png_text(Path("out/recon/a.png"))["ddfm"])


def test_the_default_is_released_as_published():
    released = ddfm.preset()
    assert released == ddfm.preset("released") == ddfm.Preset(ddfm.FusionConfig(), ddfm.DiffusionConfig())


def test_every_configuration_of_fusion_is_in_a_preset():
    assert {files.fusion_config for files in presets().values()} == set(config_names("fusion"))
    for name, files in presets().items():
        chosen = ddfm.preset(name)
        keys = read_yaml(config_names("fusion")[files.fusion_config])
        assert chosen.fusion.prior == keys.get("prior", True), name
    assert ddfm.preset("exp_3").fusion.em == ddfm.FixedBalance(phi=0.1, roles="released")
    assert ddfm.preset("exp_2_paper").fusion.em == ddfm.Paper(tv=False)
    assert ddfm.preset("quick").diffusion.timestep_respacing == 62
    assert ddfm.preset("grey").model_config == "grey"
    assert ddfm.preset("grey").diffusion.timestep_respacing == "60,14,10,8,8"


def test_help_lists_them_with_a_line_each(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        sample_parser(ROOT).parse_args(["--help"])
    lines = capsys.readouterr().out.split("presets:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(presets())
    assert all(15 < len(line) <= 110 for line in lines)


def test_a_wrong_name_lists_them(work: Path, capsys: pytest.CaptureFixture[str]):
    assert run("--preset", "localfast") == 2
    error = capsys.readouterr().err
    assert "no preset 'localfast'; there are released, paper, local" in error
    assert "did you mean local_fast?" in error and not Path("out").exists()


def test_a_file_takes_the_place_of_the_one_of_its_kind(
    work: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    Path("three.yaml").write_text("timestep_respacing: 3\n")
    flags = [
        "--preset",
        "paper",
        "--diffusion_config",
        "three.yaml",
        "--model_config",
        str(tiny_prior.config),
    ]
    assert run(*flags) == 0
    error = capsys.readouterr().err
    assert "preset paper: fusion_config_paper.yaml, three.yaml in place of diffusion_config.yaml" in error
    assert made()["fusion_config"]["em"]["variant"] == "paper"
    assert made()["diffusion_config"]["timestep_respacing"] == 3
    assert made()["prior"]["file"] == "prior.pt"


def test_single_settings_are_recorded(work: Path, tiny_prior: PriorFiles):
    model = ["--model_config", str(tiny_prior.config)]
    assert run("--steps", "3", "--variant", "paper", "--noise", "5,0", *model) == 0
    first = made()
    assert first["diffusion_config"]["timestep_respacing"] == 3
    assert first["fusion_config"]["em"] == {
        "variant": "paper",
        "lamb": 0.5,
        "rho": 0.1,
        "cap": 2.0,
        "tv": True,
    }
    assert first["fusion_config"]["noise"] == [5.0, 0.0]
    assert run("--preset", "local", "--noise", "off", "--steps", "2", "--tone", "0.7") == 0
    em = made()["fusion_config"]["em"]
    assert made()["prior"] is None and (em["steps"], em["tone"]) == (2, 0.7)


@pytest.mark.parametrize(
    "more, words",
    [
        (
            ["--preset", "local_fast", "--steps", "3"],
            "local_fast has no steps; the variants that have: released",
        ),
        (["--tone", "0.2"], "released has no tone; the variants that have: local, local_fast"),
        (["--steps", "2000"], "steps is 2000, but must be from 2 to 1000"),
        (["--fusion_config", "papr"], "did you mean paper?"),
        (["--model_config", "compct"], "no prior 'compct'; there are compact, grey, imagenet"),
    ],
)
def test_nothing_starts(work: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert run(*more) == 2
    assert words in capsys.readouterr().err and not Path("out").exists()


@pytest.mark.parametrize("noise", ["loud", "10,x", ""])
def test_noise_is_a_word_or_numbers(noise: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        sample_parser(ROOT).parse_args(["--noise", noise])
    assert "neither auto nor off" in capsys.readouterr().err


def test_python_and_the_command_line_give_one_image(work: Path, caplog: pytest.LogCaptureFixture):
    assert run("--preset", "local_fast", "--tone", "0.5") == 0
    chosen = ddfm.preset("local_fast", tone=0.5)
    assert chosen.open_prior() is None
    fused = chosen.fuse(["input/ir/a.png", "input/vi/a.png"])
    assert np.array_equal(fused.grey, np.asarray(Image.open("out/recon/a.png")))
    assert fused.color is not None
    assert np.array_equal(fused.color, np.asarray(Image.open("out/color/a.png")))
    record = ddfm.fuse_folder(chosen.folder(Path("more"), input=Path("input"), device="cpu", quiet=True))
    assert record.exit_status == 0
    assert Path("more/recon/a.png").read_bytes() == Path("out/recon/a.png").read_bytes()


def test_one_prior_for_several_scenes(work: Path, tiny_prior: PriorFiles):
    chosen = ddfm.preset("quick", model_config=tiny_prior.config, steps=2)
    prior, seen = chosen.open_prior("cpu"), []
    fused = chosen.fuse(["input/ir/a.png", "input/vi/a.png"], prior, lambda step: seen.append(step.index))
    assert seen == [1, 0] and fused.provenance["warm_start"] == 400 and fused.provenance["steps"] == 2
    again = chosen.fuse(["input/ir/a.png", "input/vi/a.png"])
    assert np.array_equal(again.grey, fused.grey)


def test_a_prior_that_is_not_asked_is_refused(tiny_prior: PriorFiles):
    prior = ddfm.preset("quick", model_config=tiny_prior.config, steps=2).open_prior("cpu")
    with pytest.raises(ValueError, match="ask no prior"):
        ddfm.preset("local_fast").fuse([np.zeros((32, 32)), np.ones((32, 32))], prior)


def test_settings_of_folders_are_refused_for_images(work: Path):
    Path("f.yaml").write_text(yaml.safe_dump({"color": "off", "prior": False}))
    with pytest.raises(ValueError, match="color is 'off', but is for folders alone"):
        ddfm.preset(fusion_config="f.yaml").fuse(["input/ir/a.png", "input/vi/a.png"])


def test_the_files_are_named(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "ddfm"):
        ddfm.preset("quick")
    assert "preset quick: fusion_config_quick.yaml, diffusion_config_quick.yaml" in caplog.text
