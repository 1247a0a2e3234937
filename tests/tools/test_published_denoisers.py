"""FDnCNN and FFDNet from files as MatConvNet writes them, of networks whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tests.conftest import PriorFiles
from tools import evaluate_prior
from tools.prior_card.published import load_published

IMAGE = np.random.default_rng(0).uniform(0, 255, (8, 6, 1))
Layers = list[tuple[np.ndarray, np.ndarray]]


def kernel(outputs: int, inputs: int, *entries: tuple[int, int, int, int, float]) -> np.ndarray:
    """(O, I, 3, 3) of zeros but for entries (o, i, row, column, value)."""
    weight = np.zeros((outputs, inputs, 3, 3), np.float32)
    for o, i, row, column, value in entries:
        weight[o, i, row, column] = value
    return weight


def fdncnn() -> Layers:
    """The pixel above, plus the noise level."""
    first = kernel(3, 2, (0, 0, 0, 1, 1), (1, 1, 1, 1, 1))
    return [(first, np.zeros(3)), (kernel(1, 3, (0, 0, 1, 1, 1), (0, 1, 1, 1, 1)), np.zeros(1))]


def ffdnet() -> Layers:
    """The sub-images as they are, but MATLAB's second, the lower left pixels, a quarter of the range."""
    keep = [(k, k, 1, 1, 1.0) for k in (0, 2, 3)]
    return [(kernel(6, 5, *keep), np.zeros(6)), (kernel(4, 6, *keep), np.array([0, 0.25, 0, 0]))]


def write_old(path: Path, layers: Layers) -> Path:
    """As MATLAB wrote until version 7: (H, W, I, O), without a last axis of 1."""
    cells = []
    for weight, bias in layers:
        turned = weight.transpose(2, 3, 1, 0)
        parts = np.empty(2, object)
        parts[0], parts[1] = (turned[..., 0] if turned.shape[-1] == 1 else turned), bias
        cells += [{"type": "conv", "weights": parts}, {"type": "relu"}]
    scipy.io.savemat(path, {"net": {"layers": np.array(cells[:-1], object)}})
    return path


def write_new(path: Path, layers: Layers) -> Path:
    """As version 7.3 does: HDF5 behind MATLAB's header, arrays the other way round, cells as references."""
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        count = 0

        def put(value: np.ndarray) -> Any:
            nonlocal count
            count += 1
            return file.create_dataset(f"#refs#/{count}", data=value).ref

        references = []
        for weight, bias in layers:
            turned = weight.transpose(0, 1, 3, 2)  # (O, I, W, H)
            parts = [put(turned[0] if len(turned) == 1 else turned), put(bias[:, None])]
            group = file.create_group(f"#refs#/layer{count}")
            group.create_dataset("type", data=np.array([[ord(c)] for c in "conv"], np.uint16))
            group.create_dataset(
                "weights", data=np.array(parts, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype
            )
            references.append(group.ref)
        file.create_dataset(
            "net/layers", data=np.array(references, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype
        )
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    return path


@pytest.mark.parametrize("write", [write_old, write_new])
def test_fdncnn_is_told_the_noise_level(tmp_path: Path, write: Any):
    denoise = load_published(write(tmp_path / "FDnCNN_gray.mat", fdncnn()))
    above = np.concatenate([np.zeros((1, 6, 1)), IMAGE[:-1]])
    np.testing.assert_allclose(denoise(IMAGE, 25), above + 25, atol=1e-3)


@pytest.mark.parametrize("write", [write_old, write_new])
def test_ffdnet_takes_sub_images_in_the_order_of_matlab(tmp_path: Path, write: Any):
    denoise = load_published(write(tmp_path / "FFDNet_gray.mat", ffdnet()))
    expected = IMAGE.copy()
    expected[1::2, ::2] = 255 / 4
    np.testing.assert_allclose(denoise(IMAGE, 25), expected, atol=1e-3)


@pytest.mark.parametrize(
    "layers",
    [
        fdncnn()[:1],
        [(kernel(3, 1), np.zeros(3)), (kernel(1, 3), np.zeros(1))],  # DnCNN, which is told nothing
        [(kernel(3, 2), np.zeros(3)), (kernel(1, 4), np.zeros(1))],
        [(kernel(3, 2), np.zeros(3)), (kernel(4, 3), np.zeros(4))],
        [(kernel(3, 2), np.zeros(2)), (kernel(1, 3), np.zeros(1))],
    ],
)
def test_other_networks_are_refused(tmp_path: Path, layers: Layers):
    with pytest.raises(ValueError, match=r"net\.mat: neither FDnCNN nor FFDNet"):
        load_published(write_old(tmp_path / "net.mat", layers))


def test_files_of_another_kind_are_refused(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    (tmp_path / "text.mat").write_text("no network")
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 7.3 MAT-file")
    scipy.io.savemat(tmp_path / "other.mat", {"x": 1})
    for name in ("text.mat", "cut.mat", "other.mat", "none.mat"):
        with pytest.raises(ValueError, match=f"{name}: no network that MatConvNet saved"):
            load_published(tmp_path / name)
    line = ["--model_config", str(tiny_prior.config), "--published", str(tmp_path / "other.mat")]
    assert evaluate_prior.main(line) == 2
    assert "--published is not for priors of 3 channels" in capsys.readouterr().err


def test_newer_files_without_h5py_say_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file")
    monkeypatch.setattr("tools.prior_card.published.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install h5py"):
        load_published(tmp_path / "new.mat")
