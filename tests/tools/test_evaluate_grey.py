"""Judging a prior on grey images: closed forms, then the tool end to end with a network of one channel."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import NetworkPrior
from tests.conftest import TINY, PriorFiles, write_prior
from tests.made_up import soft_scene
from tools import evaluate_prior
from tools.prior_card.denoising import DENOISERS, add_noise, denoise_all
from tools.prior_card.grey import (
    GreyDenoiser,
    as_grey,
    denoise_thermal,
    matched_psnr,
    thermal_frames,
    without_stripes,
)
from tools.training.validation import sigma_timestep

CPU = torch.device("cpu")
DIFFUSION = GaussianDiffusion.from_config(
    DiffusionConfig(timestep_respacing="", model_var_type="fixed_small")
)


@pytest.fixture(scope="module")
def grey_prior(tmp_path_factory: pytest.TempPathFactory) -> PriorFiles:
    return write_prior(tmp_path_factory.mktemp("grey"), {**TINY, "in_channels": 1}, seed=7)


def sequences(folder: Path, sigma: float = 12.0) -> Path:
    """Two sequences of three frames whose clean side has half the contrast."""
    for number, name in enumerate(("a", "b")):
        for frame in range(3):
            clean = as_grey(soft_scene(65, 10 * number + frame))
            noisy = add_noise(clean, sigma, number, frame).round().clip(0, 255).astype(np.uint8)
            for side, image in (("ir", clean // 2), ("ir_noisy", noisy)):
                (folder / name / side).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[:, :, 0]).save(folder / name / side / f"{frame}.png")
    return folder


def test_three_channels_get_independent_noise_of_one_size_and_grey_unchanged():
    """Along (1, 1, 1) / sqrt(3) what was there, across it sqrt(3) sigma: one call at the timestep of that noise."""
    seen: dict[str, Tensor] = {}

    clean, sigma = as_grey(soft_scene(128)), 20.0
    x_0 = torch.from_numpy(clean / 127.5 - 1).float().permute(2, 0, 1)[None]

    def network(x: Tensor, t: Tensor) -> Tensor:
        """The noise in x, for a network that knows the image."""
        seen["x"], seen["t"] = x, t
        alpha = DIFFUSION.alphas_cumprod[int(t)]
        return (x - math.sqrt(alpha) * x_0) / math.sqrt(1 - alpha)

    noisy = add_noise(clean, sigma, 0, 0)
    estimate = GreyDenoiser(NetworkPrior(network, DIFFUSION, 3), CPU)(noisy, sigma)
    np.testing.assert_allclose(estimate, clean, atol=1e-2)  # float32 of range 255
    t = int(seen["t"])
    assert abs(t - sigma_timestep(DIFFUSION, math.sqrt(3) * sigma)) <= 1
    state = (seen["x"][0] / math.sqrt(DIFFUSION.alphas_cumprod[t]) + 1).permute(1, 2, 0).numpy() * 127.5
    covariance = np.cov((state - clean).reshape(-1, 3).T) / (3 * sigma**2)
    # each of 16384 pixels: relative errors of sqrt(2 / 16384), six times that
    np.testing.assert_allclose(covariance, np.eye(3), atol=6 * math.sqrt(2 / 16384))


def test_the_prior_before_is_one_more_companion():
    def oracle(noisy: np.ndarray, sigma: float) -> np.ndarray:
        return noisy + 10.0

    def zero(x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    image = np.full((32, 32, 1), 100, np.uint8)
    level = denoise_all(zero, DIFFUSION, [image], [1], [], 0, CPU, {"before": oracle})["levels"][0]
    assert level["psnr"]["before"] == pytest.approx(10 * math.log10(255**2 / 101), abs=0.2)
    # four times the relative error of a variance of 1024 numbers, in dB
    assert level["psnr"]["prior"] == pytest.approx(20 * math.log10(255), abs=0.8)


def test_bm3d_is_called_as_its_package_wants(monkeypatch: pytest.MonkeyPatch):
    def denoise(z: np.ndarray, sigma: float) -> np.ndarray:
        assert z.ndim == 2 and z.max() <= 1 and sigma == pytest.approx(25 / 255)
        return z

    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d=denoise))
    image = as_grey(soft_scene()).astype(float)
    np.testing.assert_allclose(DENOISERS["bm3d"](image, 25), image, atol=1e-9)


def test_companions_of_scikit_image_take_one_channel():
    clean = as_grey(soft_scene())
    noisy = add_noise(clean, 25, 0, 0)
    for name in ("nl_means", "tv"):
        result = DENOISERS[name](noisy, 25)
        assert result.shape == clean.shape and np.std(result - clean) < 0.6 * np.std(noisy - clean)


def test_levels_are_matched_before_they_are_compared():
    image = as_grey(soft_scene()).astype(float)
    assert matched_psnr(image, 0.5 * image + 20) > 100
    assert matched_psnr(-image, image) > 100
    assert matched_psnr(np.random.default_rng(0).standard_normal(image.shape), image) < 20


def test_thermal_frames_keep_their_names_and_sizes(tmp_path: Path):
    frames = thermal_frames(sequences(tmp_path), 8)
    assert [name for name, *_ in frames] == ["a"] * 3 + ["b"] * 3
    assert all(noisy.shape == clean.shape == (64, 64, 1) for _, noisy, clean in frames)
    rows, pictures = denoise_thermal(
        {"prior": GreyDenoiser(NetworkPrior(lambda x, t: torch.zeros_like(x), DIFFUSION, 1), CPU)}, frames
    )
    assert [(row["sequence"], row["frames"]) for row in rows] == [("a", 3), ("b", 3)]
    for row in rows:
        assert 9 < row["sigma"] < 15  # 12, and what rounding, clipping and the scene do to it
        assert row["psnr"]["prior"] == pytest.approx(row["psnr"]["even"], abs=0.01)  # eps = 0
    assert pictures["a"].shape == (64, 4 * 64)


def test_stripes_are_taken_off_before_the_denoising():
    """Columns off by 8 grey levels (standard deviation): what is left is what the noise hides, 12 / sqrt(64)."""
    rng = np.random.default_rng(0)
    clean = as_grey(soft_scene())
    noisy = clean + 12 * rng.standard_normal(clean.shape) + 8 * rng.standard_normal((1, clean.shape[1], 1))
    off = (without_stripes(np.clip(noisy, 0, 255))[0] - clean).mean(axis=0)
    assert (noisy - clean).mean(axis=0).std() > 6 and off.std() < 4


def test_thermal_frames_that_are_missing(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no frames"):
        thermal_frames(tmp_path, 8)
    folder = sequences(tmp_path)
    (folder / "a/ir/0.png").unlink()
    with pytest.raises(ValueError, match="has no clean partner"):
        thermal_frames(folder, 8)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "a/ir/0.png")
    with pytest.raises(ValueError, match="different sizes"):
        thermal_frames(folder, 8)


def test_the_tool_judges_a_prior_of_one_channel(
    tmp_path: Path, grey_prior: PriorFiles, tiny_prior: PriorFiles
):
    (tmp_path / "val").mkdir()
    for number in range(5):
        Image.fromarray(soft_scene(80, number)).save(tmp_path / "val" / f"{number}.png")
    line = [
        "--model_config",
        str(grey_prior.config),
        "--val",
        str(tmp_path / "val"),
        "--every",
        "2",
        "--crop",
        "64",
    ]
    line += [
        "--sigmas",
        "25",
        "--denoisers",
        "nl_means",
        "--loss_timesteps",
        "2",
        "--json",
        str(tmp_path / "all.json"),
    ]
    line += [
        "--before",
        str(tiny_prior.config),
        "--thermal",
        str(sequences(tmp_path / "t")),
        "--plots",
        str(tmp_path),
    ]
    line += ["--samples", str(tmp_path), "--sizes", "16x32", "--sample_count", "2", "--sample_steps", "2"]
    assert evaluate_prior.main(line) == 0
    report = json.loads((tmp_path / "all.json").read_text())
    assert report["denoising"]["images"] == 3
    names = {"noisy", "nl_means", "before", "prior", "prior_unclipped"}
    assert set(report["denoising"]["levels"][0]["psnr"]) == names
    assert [row["sequence"] for row in report["thermal"]] == ["a", "b"]
    assert set(report["thermal"][0]["psnr"]) == {"noisy", "even", "before", "prior"}
    with Image.open(tmp_path / "samples_16x32.png") as image:
        assert image.mode == "L" and image.size == (36, 32)
    with Image.open(tmp_path / "thermal_a.png") as image:
        assert image.mode == "L" and image.size == (5 * 64, 64)


def test_colour_denoisers_are_not_for_grey(grey_prior: PriorFiles, capsys: pytest.CaptureFixture[str]):
    assert evaluate_prior.main(["--model_config", str(grey_prior.config), "--denoisers", "cbm3d"]) == 2
    assert "cbm3d is not for priors of 1 channel" in capsys.readouterr().err
