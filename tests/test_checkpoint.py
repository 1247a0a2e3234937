"""Loading a prior: exactly the file's weights, or an error that says what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from guided_diffusion.script_util import create_model
from tests.conftest import TINY, PriorFiles
from util import checkpoint
from util.checkpoint import CheckpointError, load_prior, read_state_dict


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
    expect(tmp_path / "none.pt", "does not exist", checkpoint.OFFICIAL_URL, "model_config_compact.yaml")


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


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path):
    torch.save({"a": Payload(tmp_path / "was-run")}, tmp_path / "code.pt")
    expect(tmp_path / "code.pt", "refused", "state_dict")
    assert not (tmp_path / "was-run").exists()


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


def test_something_that_is_no_state_dict(tmp_path: Path):
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "nested.pt")
    with pytest.raises(CheckpointError, match="plain state_dict"):
        read_state_dict(tmp_path / "nested.pt")


def test_unfinished_download_of_the_official_file(tmp_path: Path):
    path = tmp_path / checkpoint.OFFICIAL_NAME
    path.write_bytes(b"half of it")
    expect(path, "10 of 2,211,383,297 bytes", "not complete")


def test_only_the_published_hash_is_official(tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "OFFICIAL_SHA256", checkpoint.file_sha256(tiny_prior.checkpoint))
    assert load_prior(meta_model(), tiny_prior.checkpoint, "c.yaml").official
