"""``python -m util.checkpoint verify`` tells what a file is, and its exit status whether it can be used."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from guided_diffusion.config import ModelConfig
from guided_diffusion.script_util import create_model, empty_model
from tests.conftest import GOLDEN, TINY, PriorFiles
from util.checkpoint.__main__ import ROOT, main
from util.checkpoint.architecture import Architecture, infer_architecture
from util.checkpoint.examine import examine
from util.checkpoint.known import COMPACT_SHA256, GREY_SHA256, OFFICIAL
from util.checkpoint.shipped import compare, config_shapes

COMPACT = ROOT / "models/compact.pt"
CONFIGS = ROOT / "configs"


def shapes_of(**keys: Any) -> dict[str, tuple[int, ...]]:
    model = empty_model(ModelConfig(**keys))
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "sha256", "config", "words"),
    [
        ("compact.pt", COMPACT_SHA256, "compact", "the compact one of this repository"),
        ("compact_grey.pt", GREY_SHA256, "grey", "the grey one of this repository"),
    ],
)
def test_the_shipped_files_are_the_known_ones_and_fit(name: str, sha256: str, config: str, words: str):
    """Whoever trains them anew also writes their hashes down."""
    path = ROOT / "models" / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert path.stat().st_size < 16 * 2**20
    report = examine(path, CONFIGS)
    assert not report.problem
    assert report.facts["fits"] == f"configs/model_config_{config}.yaml"
    assert report.facts["known as"] == words


def test_as_its_own_process():
    command = [sys.executable, "-m", "util.checkpoint", "verify", str(COMPACT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    for words in (
        *(
            "plain state_dict",
            "4,422,118 in 226 tensors",
            "float16",
            COMPACT_SHA256,
            f"{COMPACT.stat().st_size:,} bytes",
        ),
        *("num_channels: 32", "channel_mult: 1,1,2,4,4", "num_res_blocks: 1", "learn_sigma: true"),
        *(
            "class_cond: false",
            "use_scale_shift_norm: true",
            "resblock_updown: false",
            "attention_ds: middle",
        ),
        "fits          configs/model_config_compact.yaml",
    ):
        assert words in done.stdout


def test_wrapped_file_is_usable_and_said_to_be_wrapped(tmp_path: Path, capsys: Any):
    weights = torch.load(COMPACT, weights_only=True)
    torch.save({"model": weights, "ema": weights, "optimizer": {}}, tmp_path / "state.pt")
    assert main(["verify", str(tmp_path / "state.pt")]) == 0
    output = capsys.readouterr().out
    assert "took the moving average of the weights from ema; left aside model, optimizer" in output
    assert "not a published file" in output and "configs/model_config_compact.yaml" in output


def test_other_architecture_is_compared_with_the_nearest(tiny_prior: PriorFiles, capsys: Any):
    assert main(["verify", str(tiny_prior.checkpoint)]) == 1
    output, error = capsys.readouterr()
    assert "channel_mult: 1,1\n" in output and "no shipped configuration" in output
    assert (
        "the nearest is configs/model_config_compact.yaml, where channel_mult is 1,1 in the file, 1,1,2,4,4"
        in error
    )
    assert "resblock_updown is" not in error  # the same in both


def test_every_file_is_told_and_one_bad_one_decides(tiny_prior: PriorFiles, tmp_path: Path, capsys: Any):
    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "was-run",))

    content = tiny_prior.checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[:-5000])
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(flipped)
    (tmp_path / "text.pt").write_text("not a checkpoint\n")
    torch.save({"a": Payload()}, tmp_path / "code.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"a": Payload()}))
    (tmp_path / OFFICIAL.name).write_bytes(content)
    torch.save({"linear.weight": torch.ones(2, 2)}, tmp_path / "linear.pt")
    torch.save({"time_embed.0.weight": torch.ones(2, 2)}, tmp_path / "torso.pt")
    state = torch.load(tiny_prior.checkpoint, weights_only=True)
    torch.save({**state, "out.2.bias": torch.full((6,), float("inf"))}, tmp_path / "inf.pt")
    torch.save({**state, "out.2.bias": torch.ones(6, dtype=torch.int8)}, tmp_path / "int8.pt")
    words = {
        "cut.pt": "perhaps its end is missing",
        "flipped.pt": "checksum",
        "text.pt": "is a text file",
        "code.pt": "refused",
        "bare.pt": "bare pickle",
        OFFICIAL.name: "the download is not complete",
        "linear.pt": "not the weights of a UNet of guided-diffusion",
        "torso.pt": "not the weights of a UNet of guided-diffusion",
        "inf.pt": "out.2.bias holds NaN or infinite weights",
        "int8.pt": "quantised",
        "none.pt": "does not exist",
    }
    assert main(["verify", *(str(tmp_path / name) for name in words), str(COMPACT)]) == 1
    output, error = capsys.readouterr()
    lines = error.splitlines()
    assert len(lines) == len(words)
    for line, (name, word) in zip(lines, words.items(), strict=True):
        assert str(tmp_path / name) in line and word in line
        assert str(tmp_path / name) in output
    assert "configs/model_config_compact.yaml" in output  # the last one is told all the same
    assert not (tmp_path / "was-run").exists()
    with contextlib.suppress(Exception):
        torch.load(tmp_path / "code.pt", weights_only=False)
    assert (tmp_path / "was-run").exists()  # the trap works


def test_official_architecture_fits_its_configuration():
    """By the names and shapes of the published file."""
    golden = json.loads((GOLDEN / "unet_imagenet256_state_dict.json").read_text())
    shapes = {key: tuple(shape) for key, shape in golden["state_dict"].items()}
    found = infer_architecture(shapes)
    assert found == Architecture(
        in_channels=3,
        patch_size=1,
        num_channels=256,
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_ds=(8, 16, 32),
        learn_sigma=True,
        class_cond=False,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )
    nearest, *others = compare(shapes, found, CONFIGS)
    assert nearest.fits and nearest.config.name == "model_config_imagenet.yaml"
    assert not any(other.fits for other in others)


BASE = {**TINY, "channel_mult": "1,2,2"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {}),
        ({"num_channels": 64}, {"num_channels": 64}),
        ({"channel_mult": "1"}, {"channel_mult": (1,)}),
        (
            {"channel_mult": "0.5,1,1,3", "num_channels": 64},
            {"num_channels": 64, "channel_mult": (0.5, 1, 1, 3)},
        ),
        ({"num_res_blocks": 3}, {"num_res_blocks": 3}),
        ({"num_res_blocks": "1,3,2"}, {"num_res_blocks": (1, 3, 2)}),
        ({"num_res_blocks": "2,2,2"}, {"num_res_blocks": 2}),
        ({"attention_resolutions": "32,16"}, {"attention_ds": (2, 4)}),
        ({"attention_resolutions": "64"}, {"attention_ds": (1,)}),
        ({"learn_sigma": False}, {"learn_sigma": False}),
        ({"class_cond": True}, {"class_cond": True}),
        ({"use_scale_shift_norm": False}, {"use_scale_shift_norm": False}),
        ({"resblock_updown": True}, {"resblock_updown": True}),
        ({"in_channels": 1}, {"in_channels": 1}),
        ({"patch_size": 2}, {"patch_size": 2}),
        (
            {"patch_size": 4, "in_channels": 1, "attention_resolutions": "16,8"},
            {"patch_size": 4, "in_channels": 1, "attention_ds": (4, 8)},
        ),
        (
            {"resblock_updown": True, "attention_resolutions": "32", "num_res_blocks": 2},
            {"resblock_updown": True, "attention_ds": (2,), "num_res_blocks": 2},
        ),
        (
            {"resblock_updown": True, "attention_resolutions": "32", "num_res_blocks": "2,1,1"},
            {"resblock_updown": True, "attention_ds": (2,), "num_res_blocks": (2, 1, 1)},
        ),
    ],
)
def test_architecture_is_read_from_names_and_shapes(keys: dict[str, Any], expected: dict[str, Any]):
    plain = infer_architecture(shapes_of(**BASE))
    assert plain.channel_mult == (1, 2, 2) and plain.attention_ds == () and plain.num_channels == 32
    assert infer_architecture(shapes_of(**{**BASE, **keys})) == dataclasses.replace(plain, **expected)


def test_same_architecture_with_a_name_too_many_is_said_so(tmp_path: Path, capsys: Any):
    weights = torch.load(COMPACT, weights_only=True)
    torch.save({**weights, "more": torch.ones(1)}, tmp_path / "more.pt")
    assert main(["verify", str(tmp_path / "more.pt")]) == 1
    assert "1 weights, among them more" in capsys.readouterr().err


def test_shapes_of_a_configuration_are_those_of_its_network(tmp_path: Path, tiny_prior: PriorFiles):
    shapes = {key: tuple(value.shape) for key, value in create_model(**TINY).state_dict().items()}
    assert config_shapes(tiny_prior.config) == shapes


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read")
def test_file_that_cannot_be_read(capsys: Any):
    assert main(["verify", "/proc/self/mem"]) == 1
    assert "/proc/self/mem cannot be read" in capsys.readouterr().err


def test_wrong_usage_is_exit_2():
    for line in ([], ["verify"], ["nonsense"]):
        with pytest.raises(SystemExit) as stopped:
            main(line)
        assert stopped.value.code == 2
