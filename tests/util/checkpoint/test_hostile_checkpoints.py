"""Checkpoints that were made to do harm, or that change under our hands: the file's weights, or one clear error."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from guided_diffusion.script_util import create_model
from tests import hostile_checkpoints as hostile
from tests.conftest import TINY, PriorFiles, run_with_network
from util.checkpoint import CheckpointError
from util.checkpoint.__main__ import main
from util.checkpoint.loading import load_prior, read_state_dict
from util.memory import peak_bytes


def meta_model():
    with torch.device("meta"):
        return create_model(**TINY)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_compressed_archive_holds_the_same_weights(
    tiny_prior: PriorFiles, tmp_path: Path, compression: int
):
    path = tmp_path / "packed.pt"
    path.write_bytes(hostile.archive(hostile.records(tiny_prior.checkpoint.read_bytes()), compression))
    model = meta_model()
    load_prior(model, path, "c.yaml")
    for key, value in torch.load(tiny_prior.checkpoint, weights_only=True).items():
        assert torch.equal(model.state_dict()[key], value)


def changed_after_the_first_weight(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    """Calls ``change`` once, while the weights are being checked."""
    look, calls = torch.isfinite, []

    def isfinite(value: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 1:
            change()
        return look(value)

    monkeypatch.setattr(torch, "isfinite", isfinite)


def test_the_hash_is_that_of_the_weights(
    tiny_prior: PriorFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The file is replaced by another one, of the same form, while it is loaded."""
    content, path, other = tiny_prior.checkpoint.read_bytes(), tmp_path / "prior.pt", tmp_path / "other.pt"
    path.write_bytes(content)
    state = torch.load(path, weights_only=True)
    torch.save({key: value + 1 for key, value in state.items()}, other)
    changed_after_the_first_weight(monkeypatch, lambda: other.replace(path))
    model = meta_model()
    assert load_prior(model, path, "c.yaml").sha256 == hashlib.sha256(content).hexdigest()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_file_that_is_written_while_it_is_read(
    tiny_prior: PriorFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "prior.pt"
    path.write_bytes(tiny_prior.checkpoint.read_bytes())
    changed_after_the_first_weight(monkeypatch, lambda: path.open("ab").write(b"more"))
    with pytest.raises(CheckpointError, match=r"prior\.pt was changed while it was read"):
        load_prior(meta_model(), path, "c.yaml")


@pytest.mark.parametrize("name", hostile.MAKERS)
def test_hostile_files_are_refused_in_bounded_time_and_memory(name: str, tmp_path: Path, capsys: Any):
    """Each in less than what a large, good file may take: 20 s of the processor, and half a gigabyte of memory."""
    path = tmp_path / "hostile.pt"
    path.write_bytes(hostile.MAKERS[name]())
    before, started = peak_bytes(), time.process_time()
    with pytest.raises(CheckpointError, match=r"hostile\.pt"):
        load_prior(meta_model(), path, "c.yaml")
    with pytest.raises(CheckpointError, match=r"hostile\.pt"):
        read_state_dict(path)
    assert time.process_time() - started < 20
    assert before is None or (peak_bytes() or 0) - before < 1 << 29
    assert main(["verify", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ERROR: ") and str(path) in lines[0]


def test_a_hostile_prior_ends_a_run_with_2(tmp_path: Path, capsys: Any):
    (tmp_path / "prior.pt").write_bytes(hostile.MAKERS["400 GB by stride 0"]())
    status, _ = run_with_network(tmp_path, {**TINY, "model_path": str(tmp_path / "prior.pt")})
    assert status == 2
    assert str(tmp_path / "prior.pt") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sparse_file_of_a_terabyte(tmp_path: Path):
    path = tmp_path / "huge.pt"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(CheckpointError, match=r"huge\.pt has 1,099,511,627,776 bytes"):
        load_prior(meta_model(), path, "c.yaml")


def test_only_the_weights_are_read(tiny_prior: PriorFiles, tmp_path: Path):
    """The optimiser's state beside them may be damaged, or larger than memory."""
    weights = torch.load(tiny_prior.checkpoint, weights_only=True)
    content = bytearray(hostile.saved({"ema": weights, "optimizer": {"exp_avg": torch.full((9999,), 0.123)}}))
    content[content.index(torch.full((9,), 0.123).numpy().tobytes())] ^= 1
    (tmp_path / "state.pt").write_bytes(content)
    model = meta_model()
    load_prior(model, tmp_path / "state.pt", "c.yaml")
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("form", ["views", "channels_last", "parameters", "float8", "bytes"])
def test_unusual_but_good(form: str, tmp_path: Path):
    """What torch.save writes for tensors that are no plain arrays."""
    value = torch.arange(24.0).reshape(1, 2, 3, 4)
    made = {
        "views": value[..., 1::2].transpose(1, 2),
        "channels_last": value.to(memory_format=torch.channels_last),
        "parameters": torch.nn.Parameter(value),
        "float8": value.to(torch.float8_e5m2),
        "bytes": value.to(torch.uint8),
    }[form]
    torch.save({"time_embed.0.weight": made, "other": [torch.Size([3]), {1, 2}, b"bytes"]}, tmp_path / "a.pt")
    read = read_state_dict(tmp_path / "a.pt")["time_embed.0.weight"]
    assert read.dtype == made.dtype and torch.equal(read.float(), made.detach().float())
