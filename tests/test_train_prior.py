"""Training: the recipe decides the weights, whatever interrupts it."""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.script_util import create_model
from tests.conftest import TINY
from tools import train_prior
from tools.photos import center_crop, load_photos, random_crop, to_batch
from tools.train_prior import Recipe, learning_rate, make_batch, sigma_timestep, validate
from util.checkpoint import load_prior

RECIPE = Recipe(
    steps=100, batch_size=2, crop=16, lr=1e-3, warmup=10, weight_decay=0.0, ema=0.99, seed=0,
    model=ModelConfig(64, 32, 1), diffusion=DiffusionConfig(),
)  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty photographs of 160x136 pixels, half of them in a subfolder, and files that are none."""
    rng = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "photos" / ("more" if number % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((160, 136), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    (tmp_path / "photos/notes.txt").write_text("none")
    (tmp_path / "photos/broken.png").write_bytes(b"none")
    return tmp_path / "photos"


def run(tmp_path: Path, photos: Path, name: str, *more: str) -> dict[str, Tensor]:
    config = tmp_path / "model.yaml"
    config.write_text(yaml.safe_dump({**TINY, "model_path": "x.pt"}))
    out = tmp_path / f"{name}.pt"
    line = ["--data", str(photos), "--val", str(photos), "--model_config", str(config), "--device", "cpu"]
    line += ["--out", str(out), "--run_dir", str(tmp_path / name), "--steps", "6", "--batch_size", "2"]
    line += ["--crop", "16", "--warmup", "2", "--val_every", "3", "--save_every", "2"]
    line += ["--val_images", "1"]
    assert train_prior.main([*line, *more]) == 0
    return torch.load(out, weights_only=True)


def test_the_file_is_a_prior_in_half_precision_and_the_log_is_complete(tmp_path: Path, photos: Path):
    state = run(tmp_path, photos, "run")
    assert all(value.dtype == torch.float16 for value in state.values())
    with torch.device("meta"):
        model = create_model(**TINY)
    load_prior(model, tmp_path / "run.pt", "model.yaml")
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [3, 6]
    assert all(math.isfinite(value) for entry in log for value in entry.values())


def test_a_killed_run_ends_with_the_same_weights(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed after step 5, the last saved state being that of step 4."""
    whole = run(tmp_path, photos, "whole")
    make = train_prior.make_batch

    def killed(photos: Any, recipe: Recipe, step: int, num_timesteps: int) -> Any:
        if step == 5:
            raise SystemExit("killed")
        return make(photos, recipe, step, num_timesteps)

    monkeypatch.setattr(train_prior, "make_batch", killed)
    with pytest.raises(SystemExit, match="killed"):
        run(tmp_path, photos, "resumed")
    assert not (tmp_path / "resumed.pt").exists()
    monkeypatch.undo()
    resumed = run(tmp_path, photos, "resumed")
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_another_recipe_does_not_go_on_from_this_state(tmp_path: Path, photos: Path):
    run(tmp_path, photos, "run")
    with pytest.raises(SystemExit, match="another recipe"):
        run(tmp_path, photos, "run", "--seed", "1")


def test_starting_from_weights(tmp_path: Path, photos: Path):
    first = run(tmp_path, photos, "first")
    second = run(tmp_path, photos, "second", "--init", str(tmp_path / "first.pt"), "--lr", "0")
    for key in first:
        torch.testing.assert_close(second[key], first[key], rtol=2e-3, atol=1e-6)  # half precision


def test_training_lowers_the_loss(tmp_path: Path, photos: Path):
    run(tmp_path, photos, "run", "--steps", "60", "--lr", "2e-3", "--ema", "0.9", "--val_every", "20")
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert log[-1]["val_loss"] < 0.8 * log[0]["val_loss"]


def test_photos_from_folders_and_archives_are_the_same(tmp_path: Path, photos: Path):
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(photos.rglob("*"), reverse=True):
            if path.is_file():
                content = path.read_bytes()
                info = tarfile.TarInfo(str(path.relative_to(photos)))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    from_folder, from_archive = load_photos([photos], 32), load_photos([archive], 32)
    assert len(from_folder) == 20  # neither the note nor the broken file
    assert sorted(p.tobytes() for p in from_folder) == sorted(p.tobytes() for p in from_archive)
    assert len(load_photos([photos], 32, limit=3)) == 3
    assert len(load_photos([photos, archive], 32, limit=3)) == 3
    with pytest.raises(ValueError, match="no photograph of at least 500"):
        load_photos([photos], 500)
    with pytest.raises(ValueError, match="does not exist"):
        load_photos([tmp_path / "none.tar"], 32)


def test_crops():
    photo = np.arange(50 * 70 * 3, dtype=np.uint32).reshape(50, 70, 3).astype(np.uint8)
    rng = np.random.default_rng(0)
    assert all(random_crop(photo, 48, rng).shape == (48, 48, 3) for _ in range(50))
    np.testing.assert_array_equal(center_crop(photo, 30), photo[10:40, 20:50])
    batch = to_batch([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    assert batch.shape == (2, 3, 4, 4) and batch[0].eq(-1).all() and batch[1].eq(1).all()


def test_a_batch_depends_on_seed_and_step_alone():
    photos = [np.random.default_rng(n).integers(0, 256, (40, 40, 3), dtype=np.uint8) for n in range(3)]
    first, again = make_batch(photos, RECIPE, 5, 1000), make_batch(photos, RECIPE, 5, 1000)
    other = make_batch(photos, RECIPE, 6, 1000)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])


def test_learning_rate_warms_up_and_decays_to_zero():
    rates = [learning_rate(step, RECIPE) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3) and rates[10] == max(rates)
    assert rates[55] == pytest.approx(5e-4)  # half-way down the cosine
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_noise_levels_and_psnr_of_a_known_predictor():
    """A network that always says eps = 0 leaves the noise in: PSNR is that of the noise itself."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=""))

    class Zero(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros(len(x), 6, *x.shape[2:])

    scores = validate(Zero(), diffusion, torch.zeros(2, 3, 64, 64))
    for sigma in (10, 25, 50, 100):
        alpha = diffusion.alphas_cumprod[sigma_timestep(diffusion, sigma)]
        actual = math.sqrt((1 - alpha) / alpha) * 127.5
        assert actual == pytest.approx(sigma, rel=0.05)  # the nearest of a thousand timesteps
        # 2 %: the mean square of 24,576 random numbers
        assert scores[f"psnr_{sigma}"] == pytest.approx(20 * math.log10(255 / actual), abs=0.1)
    assert scores["val_loss"] == pytest.approx(1.0, abs=0.02)
