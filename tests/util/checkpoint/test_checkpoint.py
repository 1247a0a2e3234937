"""Loading a prior: exactly the file's weights, or an error that says what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from guided_diffusion.script_util import create_model
from tests.conftest import TINY, PriorFiles
from tools import train_prior
from util import checkpoint
from util.checkpoint import CheckpointError
from util.checkpoint.loading import load_prior


def meta_model():
    with torch.device("meta"):
        return create_model(**TINY)


def test_weights_are_those_of_the_file(tiny_prior: PriorFiles):
    model = meta_model()
    info = load_prior(model, tiny_prior.checkpoint, "c.yaml")
    saved = torch.load(tiny_prior.checkpoint, weights_only=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, saved[key])
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert info.sha256 == hashlib.sha256(tiny_prior.checkpoint.read_bytes()).hexdigest()
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert info.file == "prior.pt" and not info.official


def test_half_precision_file_becomes_float32(tiny_prior: PriorFiles, tmp_path: Path):
    state = {k: v.half() for k, v in torch.load(tiny_prior.checkpoint, weights_only=True).items()}
    torch.save(state, tmp_path / "half.pt")
    model = meta_model()
    load_prior(model, tmp_path / "half.pt", "c.yaml")
    assert all(p.dtype == torch.float32 for p in model.parameters())


def expect(path: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_prior(meta_model(), path, "c.yaml")
    for word in (path.name, *words):
        assert word in str(caught.value)


def test_missing_file_names_the_remedies(tmp_path: Path):
    expect(
        tmp_path / "none.pt",
        "does not exist",
        "python -m util.checkpoint download",
        "model_config_compact.yaml",
    )


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_truncated_or_empty_file(tiny_prior: PriorFiles, tmp_path: Path, keep: int):
    path = tmp_path / "cut.pt"
    path.write_bytes(tiny_prior.checkpoint.read_bytes()[:keep])
    expect(path, "damaged or is no PyTorch checkpoint")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x80\x02}q\x00.", b"PK\x03\x04junk"])
def test_something_else_in_disguise(tmp_path: Path, content: bytes):
    path = tmp_path / "page.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"page\.pt"):
        load_prior(meta_model(), path, "c.yaml")


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_other_architectures_are_told_apart(tiny_prior: PriorFiles, tmp_path: Path):
    state = torch.load(tiny_prior.checkpoint, weights_only=True)
    for name, change, words in [
        ("missing", lambda s: s.pop("out.2.bias"), ["1 keys missing", "lacks out.2.bias"]),
        ("extra", lambda s: s.update(more=torch.ones(1)), ["1 too many", "has no more"]),
        ("shape", lambda s: s.update({"out.2.bias": torch.ones(3)}), ["(3,)", "(6,)", "c.yaml"]),
        ("nan", lambda s: s["out.2.bias"].fill_(float("nan")), ["NaN", "out.2.bias"]),
    ]:
        changed = {key: value.clone() for key, value in state.items()}
        change(changed)
        torch.save(changed, tmp_path / f"{name}.pt")
        expect(tmp_path / f"{name}.pt", *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"a": torch.ones(1)}, "step": 3}, "its entries: model, step"),
        ({}, "its entries: none"),
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        ({"linear.weight": torch.ones(2, 2)}, "is no checkpoint of the model in c.yaml"),
    ],
)
def test_something_that_is_no_prior(tmp_path: Path, content: object, words: str):
    torch.save(content, tmp_path / "other.pt")
    expect(tmp_path / "other.pt", words)


def test_unfinished_download_of_the_official_file(tmp_path: Path):
    path = tmp_path / checkpoint.OFFICIAL.name
    path.write_bytes(b"half of it")
    expect(path, "10 of 2,211,383,297 bytes", "not complete")


def test_only_the_published_hash_is_official(tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch):
    sha256 = hashlib.sha256(tiny_prior.checkpoint.read_bytes()).hexdigest()
    official = dataclasses.replace(checkpoint.OFFICIAL, sha256=sha256)
    monkeypatch.setattr("util.checkpoint.known.OFFICIAL", official)
    assert load_prior(meta_model(), tiny_prior.checkpoint, "c.yaml").official


def test_other_files_in_disguise_are_named(tiny_prior: PriorFiles, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("paper.docx", "words")
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        for name in ("version", "data.pkl", "constants.pkl"):
            archive.writestr(f"program/{name}", "3")
    (tmp_path / "page.pt").write_text("<!doctype html><title>Not found</title>")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (tmp_path / "tensors.pt").write_bytes(struct.pack("<Q", 2) + b"{}")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder.pt").mkdir()
    for name, words in {
        "zip": "a zip archive, but not one of torch.save",
        "program": "TorchScript",
        "page": "text file",
        "lfs": "git lfs pull",
        "tensors": "safetensors",
        "empty": "is empty",
        "folder": "is a folder",
    }.items():
        expect(tmp_path / f"{name}.pt", words)


# what a training program saves around the weights, made from "w" (weights) and "e" (their moving average), and
# where they are to be taken from
Weights = dict[str, torch.Tensor]
ADAM = {"state": {0: {"step": 1, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}


def prefixed(prefix: str, state: Weights) -> Weights:
    return {prefix + key: value for key, value in state.items()}


FORMS: dict[str, tuple[Callable[[Weights, Weights], dict], str]] = {
    "model": (lambda w, e: {"model": e, "optimizer": ADAM, "step": 5}, "from model"),
    "state_dict": (lambda w, e: {"state_dict": e, "epoch": 5}, "from state_dict"),
    "ema": (lambda w, e: {"ema": e}, "from ema"),
    "model and ema": (
        lambda w, e: {"model": w, "ema": e, "opt": ADAM},
        "the moving average of the weights from ema",
    ),
    "model_ema": (lambda w, e: {"model": w, "model_ema": e}, "from model_ema"),
    "ema_model": (lambda w, e: {"net": w, "ema_model": e}, "from ema_model"),
    "state_dict_ema": (lambda w, e: {"state_dict": w, "state_dict_ema": e}, "from state_dict_ema"),
    "ema with its rate": (lambda w, e: {"model": w, "ema_0.9999": e}, "from ema_0.9999"),
    "shadow": (lambda w, e: {"model": w, "ema": {"decay": 0.99, "shadow": e}}, "from ema / shadow"),
    "DDP": (lambda w, e: prefixed("module.", e), "from module."),
    "compiled": (lambda w, e: {"model": prefixed("_orig_mod.", e)}, "from model / _orig_mod."),
    "DDP, compiled": (lambda w, e: prefixed("module._orig_mod.", e), "from module._orig_mod."),
    "averaged": (
        lambda w, e: {**prefixed("module.", e), "n_averaged": torch.tensor(3)},
        "left aside n_averaged",
    ),
    "Lightning": (
        lambda w, e: {
            "state_dict": {**prefixed("model.", e), "betas": torch.ones(3)},
            "optimizer_states": [ADAM],
            "pytorch-lightning_version": "2.0.0",
        },
        "from state_dict / model.; left aside betas, optimizer_states, pytorch-lightning_version",
    ),
    "Lightning with ema": (
        lambda w, e: {"state_dict": {**prefixed("model.", w), **prefixed("ema.", e)}},
        "the moving average of the weights from state_dict / ema.; left aside model",
    ),
    "ema module": (
        lambda w, e: {
            "ema": {**prefixed("online_model.", w), **prefixed("ema_model.", e), "initted": torch.ones(1)}
        },
        "from ema / ema_model.",
    ),
    "one inside another": (lambda w, e: {**w, **prefixed("ema.", e)}, "from ema."),
    "beside numbers": (lambda w, e: {**e, "step": 5}, "left aside step"),
}


@pytest.mark.parametrize("form", FORMS)
def test_wrappers_are_unwrapped_with_a_word(
    form: str, tiny_prior: PriorFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    average = torch.load(tiny_prior.checkpoint, weights_only=True)
    raw = {key: value + 1 for key, value in average.items()}
    wrap, words = FORMS[form]
    torch.save(wrap(raw, average), tmp_path / "wrapped.pt")
    model = meta_model()
    with caplog.at_level("INFO", "ddfm"):
        load_prior(model, tmp_path / "wrapped.pt", "c.yaml")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "wrapped.pt: " in caplog.text and words in caplog.text
    for key, value in model.state_dict().items():
        assert torch.equal(value, average[key])


@pytest.mark.parametrize(
    ("wrap", "choices"),
    [
        (lambda w: {"generator": w, "teacher": w}, "generator, teacher"),
        (lambda w: {"ema_0.99": w, "ema_0.9999": w, "model": w}, "ema_0.99, ema_0.9999"),
        (lambda w: {**prefixed("a.", w), **prefixed("b.", w)}, "a., b."),
        (lambda w: {**w, "copy": w}, "the top level, copy"),
    ],
)
def test_ambiguity_lists_the_choices(
    tiny_prior: PriorFiles, tmp_path: Path, wrap: Callable[[Weights], dict], choices: str
):
    weights = torch.load(tiny_prior.checkpoint, weights_only=True)
    torch.save(wrap(weights), tmp_path / "many.pt")
    expect(tmp_path / "many.pt", f"several networks ({choices})")


def test_state_of_our_own_training(tmp_path: Path):
    """``state.pt`` and the finished file of tools/train_prior.py hold the same average."""
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos/a.png")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    photos, out, run_dir = (str(tmp_path / name) for name in ("photos", "prior.pt", "run"))
    command = ["--data", photos, "--val", photos, "--out", out, "--run_dir", run_dir, "--device", "cpu"]
    command += [
        "--model_config",
        str(tmp_path / "tiny.yaml"),
        "--steps",
        "1",
        "--batch_size",
        "1",
        "--crop",
        "16",
    ]
    assert train_prior.main(command) == 0
    states = []
    for path in (tmp_path / "run/state.pt", tmp_path / "prior.pt"):
        model = meta_model()
        load_prior(model, path, "c.yaml")
        states.append(model.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=2**-10, atol=1e-7)  # the rounding of float16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("zipped", [True, False])
def test_precisions_and_the_old_format(
    tiny_prior: PriorFiles, tmp_path: Path, dtype: torch.dtype, zipped: bool
):
    state = {k: v.to(dtype) for k, v in torch.load(tiny_prior.checkpoint, weights_only=True).items()}
    torch.save(state, tmp_path / "saved.pt", _use_new_zipfile_serialization=zipped)
    model = meta_model()
    load_prior(model, tmp_path / "saved.pt", "c.yaml")
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, state[key].float())


def test_quantised_weights_are_refused(tiny_prior: PriorFiles, tmp_path: Path):
    state = torch.load(tiny_prior.checkpoint, weights_only=True)
    state["out.2.bias"] = state["out.2.bias"].to(torch.int8)
    torch.save(state, tmp_path / "small.pt")
    expect(tmp_path / "small.pt", "torch.int8", "quantised")


def test_a_flipped_bit_is_noticed(tiny_prior: PriorFiles, tmp_path: Path):
    """torch.load takes such a file without a word."""
    content = bytearray(tiny_prior.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    expect(tmp_path / "flipped.pt", "is damaged", "checksum")


def test_weights_in_memory_do_not_depend_on_the_file(tiny_prior: PriorFiles, tmp_path: Path):
    path = tmp_path / "prior.pt"
    path.write_bytes(tiny_prior.checkpoint.read_bytes())
    model = meta_model()
    load_prior(model, path, "c.yaml")
    path.write_bytes(b"")  # a mapped file would end the process here
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize("kind", ["zip", "old", "pickle 0", "pickle 2", "pickle 5", "beside weights"])
def test_code_in_a_file_is_refused_and_not_run(tiny_prior: PriorFiles, tmp_path: Path, kind: str):
    path, content = tmp_path / "code.pt", {"a": Payload(tmp_path / "was-run")}
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(kind[-1])))
    elif kind == "beside weights":
        torch.save({**content, "model": torch.load(tiny_prior.checkpoint, weights_only=True)}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    expect(path, *(["no PyTorch checkpoint"] if kind == "pickle 0" else ["refused", "state_dict"]))
    assert not (tmp_path / "was-run").exists()
    with contextlib.suppress(Exception):  # the trap works: to unpickle the file is to run it
        torch.load(path, weights_only=False)
    assert (tmp_path / "was-run").exists()


def test_bare_pickle_without_code_is_refused_as_well(tmp_path: Path):
    (tmp_path / "data.pt").write_bytes(pickle.dumps({"a": 1}))
    expect(tmp_path / "data.pt", "bare pickle", "torch.save")
