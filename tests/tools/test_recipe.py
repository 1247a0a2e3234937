"""Recipes: the images, timesteps and noise of every step are those that the published weights were made from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from tools.training.photos import center_crop, darken, draw_crop, retone, to_batch
from tools.training.recipe import Recipe, learning_rate, make_batch

RECIPE = Recipe(
    steps=100, batch_size=16, crop=48, lr=1e-3, warmup=10, weight_decay=0.0, ema=0.99, seed=3,
    model=ModelConfig(64, 32, 1), diffusion=DiffusionConfig(),
)  # fmt: skip
ALPHAS_CUMPROD = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing="")).alphas_cumprod


def pattern(number: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = [y * (number + 2) + x * 3, y * x + 17 * number, y * y + 5 * x]
    return (np.stack(channels, axis=2) % 256).astype(np.uint8)


PHOTOS = [pattern(0, 70, 90), pattern(1, 64, 64), pattern(2, 150, 101)]


def batch(step: int, share: slice = slice(None), **changes: Any) -> tuple[Tensor, Tensor, Tensor]:
    recipe = dataclasses.replace(RECIPE, **changes)
    return make_batch(PHOTOS, recipe, step, ALPHAS_CUMPROD, share)


def levels(x: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    return x.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize(
    ("timesteps", "t", "noise"),
    [
        (
            "uniform",
            [548, 855, 208, 658, 564, 894, 803, 935, 887, 223, 614, 738, 59, 836, 521, 275],
            [-1.0906895, 1.4262880, 0.7091692, 1.3124838],
        ),
        (
            "edm",
            [548, 24, 183, 34, 564, 495, 32, 5, 887, 63, 3, 3, 59, 51, 13, 101],
            [0.0476796, -1.0269176, 0.5299898, 0.3426954],
        ),
    ],
)
def test_a_known_step_has_the_data_that_it_always_had(timesteps: str, t: list[int], noise: list[float]):
    """Seed 3, step 7: written down when the first weights were made, and never to change."""
    x, actual_t, actual_noise = batch(7, timesteps=timesteps)
    assert hashlib.sha256(levels(x).tobytes()).hexdigest()[:16] == "9a8f9c05f2fbc93e"
    assert actual_t.tolist() == t
    # not to the last bit: processors differ in how they round the logarithm of the Box-Muller transform
    torch.testing.assert_close(actual_noise.flatten()[:4], torch.tensor(noise), rtol=0, atol=1e-5)


def test_a_batch_depends_on_seed_and_step_alone():
    first, again, other = batch(5), batch(5), batch(6)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])
    assert not torch.equal(first[0], batch(5, seed=4)[0])


@pytest.mark.parametrize("changes", [{}, {"timesteps": "edm", "grey": 0.5, "low_light": 0.5, "tones": 0.5}])
def test_shares_of_a_batch_are_the_batch(changes: dict[str, Any]):
    whole = batch(5, **changes)
    shares = [batch(5, slice(start, start + 4), **changes) for start in range(0, 16, 4)]
    for index, part in enumerate(whole):
        assert torch.equal(torch.cat([share[index] for share in shares]), part)


def test_grey_and_low_light_change_what_they_say_and_nothing_else():
    plain = batch(5)
    grey, dark = batch(5, grey=1.0), batch(5, low_light=1.0)
    for changed in (grey, dark):
        assert torch.equal(changed[1], plain[1]) and torch.equal(changed[2], plain[2])
    assert torch.equal(grey[0][:, 0], grey[0][:, 1]) and torch.equal(grey[0][:, 0], grey[0][:, 2])
    weights = np.array([0.299, 0.587, 0.114])
    # half a level of rounding
    assert np.abs(levels(plain[0]) @ weights - levels(grey[0])[..., 0]).max() <= 0.5 + 1e-9
    assert (levels(dark[0]) <= np.ceil(0.8 * levels(plain[0]))).all()
    some = batch(5, grey=0.5)[0]
    is_grey = (some[:, 0] == some[:, 1]).flatten(1).all(1)
    assert 0 < is_grey.sum() < 16
    assert torch.equal(some[~is_grey], plain[0][~is_grey])


def test_darkening():
    crop = np.full((2, 2, 3), 128, np.uint8)
    assert (darken(crop, 0.5, 1.0) == 64).all()
    assert (darken(crop, 0.5, 2.0) == 32).all()


def test_tone_curves():
    crop = np.array([[0, 64, 128, 255]], np.uint8)[:, :, None]
    assert retone(crop, 1.0, 127.5).tolist() == crop.tolist()
    assert retone(crop, -1.0, 127.5).ravel().tolist() == [255, 191, 127, 0]  # inverted
    assert retone(crop, 0.5, 100.0).ravel().tolist() == [36, 68, 100, 164]  # compressed
    assert retone(crop, 2.0, 127.5).ravel().tolist() == [0, 0, 128, 255]  # clipped


def test_tones_change_the_levels_of_their_share_and_nothing_else():
    plain, toned, some = batch(5), batch(5, tones=1.0), batch(5, tones=0.5)
    assert torch.equal(toned[1], plain[1]) and torch.equal(toned[2], plain[2])
    same = (some[0] == plain[0]).flatten(1).all(1)
    assert 0 < same.sum() < 16
    correlations = [
        np.corrcoef(one.flatten(), two.flatten())[0, 1] for one, two in zip(plain[0], toned[0], strict=True)
    ]
    assert min(correlations) < -0.5 and max(correlations) > 0.5  # some are inverted, some are not
    assert (levels(toned[0]).std(axis=(1, 2, 3)) <= 2.0 * levels(plain[0]).std(axis=(1, 2, 3)) + 1).all()


def test_a_network_of_one_channel_gets_the_luma_of_the_same_crops():
    rgb, grey = (
        batch(5, grey=1.0, tones=0.5),
        batch(5, model=ModelConfig(64, 32, 1, in_channels=1), tones=0.5),
    )
    assert grey[0].shape == grey[2].shape == (16, 1, 48, 48)
    assert torch.equal(grey[1], rgb[1])
    plain = batch(5, grey=1.0)[0][:, :1], batch(5, model=ModelConfig(64, 32, 1, in_channels=1))[0]
    assert torch.equal(*plain)


def test_the_density_of_noise_levels_can_be_moved():
    """The levels of neighbouring timesteps are less than 0.2 apart in their logarithm there."""
    low = batch(5, timesteps="edm", level_mean=-3.0, level_std=0.1)[1]
    sigmas = np.sqrt((1 - ALPHAS_CUMPROD) / ALPHAS_CUMPROD)[low]
    drawn = np.arange(16) % 4 != 0
    assert (np.abs(np.log(sigmas[drawn]) + 3.0) < 0.6).all()  # six standard deviations


@pytest.mark.parametrize(
    "values",
    [{"tones": 1.5}, {"shrunk": -0.1}, {"level_std": 0.0}, {"level_mean": math.inf}, {"optimizer": "sgd"}],
)
def test_values_with_which_nothing_can_be_trained(values: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(values))):
        dataclasses.replace(RECIPE, **values)  # pyright: ignore[reportArgumentType]


def test_crops():
    photo = np.arange(50 * 70 * 3, dtype=np.uint32).reshape(50, 70, 3).astype(np.uint8)
    rng = np.random.default_rng(0)
    crops = [draw_crop(photo.shape[:2], 48, rng) for _ in range(50)]
    assert all(crop.cut(photo, 48).shape == (48, 48, 3) for crop in crops)
    assert {crop.side for crop in crops} == {48, 49, 50}  # never more than the photograph
    assert {draw_crop((500, 500), 48, rng, shrunk=0.0).side for _ in range(20)} == {48}
    assert all(draw_crop((500, 500), 48, rng, shrunk=1.0).side >= 48 for _ in range(20))
    np.testing.assert_array_equal(center_crop(photo, 30), photo[10:40, 20:50])
    pixels = to_batch([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    assert pixels.shape == (2, 3, 4, 4) and pixels[0].eq(-1).all() and pixels[1].eq(1).all()


def test_learning_rate_warms_up_and_decays_to_zero():
    rates = [learning_rate(step, RECIPE) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3) and rates[10] == max(rates)
    assert rates[55] == pytest.approx(5e-4)  # half-way down the cosine
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_a_recipe_knows_its_own_json():
    assert RECIPE.matches(RECIPE.to_json())
    values = json.loads(RECIPE.to_json())
    del values["grey"], values["model"]["dropout"]
    assert RECIPE.matches(json.dumps(values))  # saved before these choices existed
    assert not dataclasses.replace(RECIPE, grey=0.1).matches(json.dumps(values))
    assert not RECIPE.matches(json.dumps({**values, "unheard_of": 1}))
    assert not RECIPE.matches(json.dumps({**values, "model": {**values["model"], "num_channels": 64}}))


def test_every_third_step_takes_small_crops_of_as_many_pixels():
    recipe = dataclasses.replace(RECIPE, small_crop=12, timesteps="edm")
    steps = [recipe.at(step) for step in range(7)]
    assert [step.crop for step in steps] == [48, 48, 12, 48, 48, 12, 48]
    assert [step.timesteps for step in steps[:3]] == ["edm", "edm", "uniform"]
    x, t, noise = make_batch(PHOTOS, steps[5], 5, ALPHAS_CUMPROD)
    assert x.shape == noise.shape == (256, 3, 12, 12) and len(t) == 256
    assert x.numel() == batch(4)[0].numel()


@pytest.mark.parametrize("small_crop", [0, 12])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_the_images_of_a_run_are_those_of_its_steps(small_crop: int, steps: int):
    recipe = dataclasses.replace(RECIPE, small_crop=small_crop)
    assert recipe.images(steps) == sum(recipe.at(step).batch_size for step in range(steps))


def test_steps_without_small_crops_are_what_they_were():
    assert RECIPE.at(2) is RECIPE
    for step in (0, 1):
        assert dataclasses.replace(RECIPE, small_crop=12).at(step) == dataclasses.replace(
            RECIPE, small_crop=12
        )
