"""Noise of the sources: sigma and stripes found on synthetic noise, none on clean scenes, grey denoised as grey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.denoising.source_noise import estimate_sigma, stripes
from guided_diffusion.denoising.sources import clean_sources, denoise_grey
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Prediction
from guided_diffusion.neumann import blur
from guided_diffusion.prior import NetworkPrior


def white(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scene(height: int = 192, width: int = 256) -> Tensor:
    """A soft scene with a step, flat and textured parts, within [-0.6, 0.6]."""
    image = 4 * blur(white(1, 1, 1, height, width), 6.0)
    image = image.clamp(-0.3, 0.3)
    image[..., : height // 3, : width // 2] += 0.25
    image[..., height // 2 :, width // 2 :] += 0.1 * torch.sin(torch.arange(width - width // 2) * 0.9)
    return image


@pytest.mark.parametrize("sigma", [10.0, 20.0, 40.0])
def test_sigma_is_found(sigma: float) -> None:
    """192 blocks: the quantile's own deviation is about 2 percent, what texture adds a few more."""
    noisy = scene() + sigma / 127.5 * white(2, 1, 1, 192, 256)
    assert float(estimate_sigma(noisy)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [9.0, 12.5, 20.0, 37.0])
def test_sigma_is_found_in_eight_bits_of_a_scene_that_clips(sigma: float) -> None:
    """An eighth of the scene is all but black, another all but white, as sky and shadow are.

    Of 768 blocks' root mean squares, each known to 9 percent, the low quantile is known to 1; rounding adds 1 / 12 to
    the variance, and the soft scene less than that.
    """
    image = 0.3 * blur(white(1, 1, 1, 384, 512), 6.0).clamp(-1, 1)
    image[..., :96, :256] -= 0.85
    image[..., :96, 256:] += 0.85
    grey = 127.5 * image + 127.5 + sigma * white(2, 1, 1, 384, 512)
    noisy = grey.round().clamp(0, 255) / 127.5 - 1
    assert float(estimate_sigma(noisy)) == pytest.approx(sigma, rel=0.04)


def test_clean_and_constant_and_black_images_are_clean() -> None:
    for image in (
        scene(),
        torch.zeros(1, 1, 64, 64),
        torch.full((1, 1, 64, 64), -1.0),
        torch.zeros(1, 1, 5, 5),
    ):
        assert float(estimate_sigma(image)) == 0
        assert float(stripes(image).abs().max()) == 0
        assert float(stripes(image, dim=-2).abs().max()) == 0


def test_black_surround_hides_no_noise() -> None:
    image = scene()
    image[..., :130] = -1.0
    noisy = (image + 20 / 127.5 * white(3, 1, 1, 192, 256)).clamp(-1, 1)
    assert float(estimate_sigma(noisy)) == pytest.approx(20, rel=0.15)


def test_texture_beside_an_all_black_surround_is_no_noise() -> None:
    """As of a slice of a body: noise of a camera would light its surround, unless it is stronger than texture."""
    texture = 10 / 127.5 * white(3, 1, 1, 192, 256)
    slice_ = scene() + texture
    slice_[..., :160] = -1.0
    assert float(estimate_sigma(slice_)) == 0
    noisy = scene() + 2 * texture
    noisy[..., :160] = -1.0
    assert float(estimate_sigma(noisy)) == pytest.approx(20, rel=0.15)
    lit = scene()
    lit[..., :160] = -1.0
    assert float(estimate_sigma((lit + texture).clamp(-1, 1))) == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("dim", [-1, -2])
@pytest.mark.parametrize("sigma", [0.0, 12.0])
def test_stripes_are_found_and_removed(dim: int, sigma: float) -> None:
    """At least three quarters of the offsets' power goes; what is wider than eight columns is the scene's."""
    clean = scene()
    offsets = 8 / 127.5 * white(4, clean.shape[dim])
    offsets = offsets.view(1, 1, 1, -1) if dim == -1 else offsets.view(1, 1, -1, 1)
    noisy = clean + offsets + sigma / 127.5 * white(5, 1, 1, 192, 256)
    left = offsets - stripes(noisy, dim)
    high = left - left.mean()
    assert float(high.square().mean()) < 0.25 * float(offsets.square().mean())


def test_white_noise_has_no_stripes() -> None:
    assert float(stripes(scene() + 0.15 * white(6, 1, 1, 192, 256)).abs().max()) == 0


def test_batch_gives_what_its_members_give() -> None:
    """Sorting and medians do not round; the windows add the same numbers in the same order."""
    batch = torch.cat([scene() + level * white(7, 1, 1, 192, 256) for level in (0.0, 0.1, 0.3)])
    for row in range(3):
        assert torch.equal(estimate_sigma(batch)[row], estimate_sigma(batch[row : row + 1])[0])
        assert torch.equal(stripes(batch)[row], stripes(batch[row : row + 1])[0])


class Wiener:
    """The exact prior of images whose pixels are N(0, spread^2), independent in each channel."""

    def __init__(self, channels: int, spread: float) -> None:
        self.diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=1000))
        self.channels, self.variance = channels, spread**2
        self.seen: tuple[Tensor, int] | None = None

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        self.seen = (x_t, index)
        signal = float(self.diffusion.alphas_cumprod[index])
        gain = self.variance * signal**0.5 / (self.variance * signal + 1 - signal)
        return Prediction(gain * x_t, torch.zeros(1))


@pytest.mark.parametrize("sigma", [11.0, 20.0, 33.0])
def test_a_network_is_asked_at_the_timestep_of_sigma_whatever_the_sampler_takes(sigma: float) -> None:
    """The nearest of a thousand: two neighbours of a linear schedule are 5 percent of such noise apart at most."""
    asked: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return torch.zeros_like(x)

    image = sigma / 127.5 * white(8, 1, 1, 32, 32)
    every = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=""))
    results = []
    for respacing in (4, 100, 1000):
        process = GaussianDiffusion.from_config(
            DiffusionConfig(timestep_respacing=respacing, model_var_type="fixed_small")
        )
        prior = NetworkPrior(network, process, 1)
        results.append(denoise_grey(prior, image, sigma, torch.Generator().manual_seed(0)))
    level = float(np.sqrt(1 / every.alphas_cumprod[asked[0]] - 1)) * 127.5
    assert len(set(asked)) == 1 and level == pytest.approx(sigma, rel=0.025)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("channels", [1, 3])
def test_prior_sees_white_noise_of_its_timestep(channels: int) -> None:
    """A grey image that is noise alone: the channels that the prior sees have the timestep's variance.

    128x128 values: a standard deviation is known to 0.6 percent, a correlation to 0.8; the timestep is the nearest
    of 1000, within 2 percent of the noise.
    """
    prior, sigma = Wiener(channels, 0.5), 20.0
    image = sigma / 127.5 * white(8, 1, 1, 128, 128)
    out = denoise_grey(prior, image, sigma, torch.Generator().manual_seed(0))
    assert out.shape == image.shape
    assert prior.seen is not None
    x_t, index = prior.seen
    expected = np.sqrt(1 - prior.diffusion.alphas_cumprod[index])
    assert x_t.shape[1] == channels
    assert x_t.std(dim=(0, 2, 3)).numpy() == pytest.approx(np.full(channels, expected), rel=0.05)
    if channels == 3:
        off = torch.corrcoef(x_t[0].flatten(1)) - torch.eye(3)
        assert float(off.abs().max()) < 0.05


def test_denoising_lowers_the_error() -> None:
    prior, clean = Wiener(1, 0.2), 0.2 * white(9, 1, 1, 96, 96)
    noisy = clean + 0.3 * white(10, 1, 1, 96, 96)
    out = denoise_grey(prior, noisy, 0.3 * 127.5, torch.Generator().manual_seed(0))
    expected = 0.2**2 * 0.3**2 / (0.2**2 + 0.3**2)  # the posterior variance
    assert float((out - clean).square().mean()) == pytest.approx(expected, rel=0.1)


def test_clean_sources_are_returned_as_they_are() -> None:
    prior = Wiener(3, 0.5)
    sources = [scene(), scene().flip(-1)]
    cleaned, sigmas = clean_sources(sources, "auto", prior, 0)
    assert all(torch.equal(a, b) for a, b in zip(sources, cleaned, strict=True))
    assert sigmas == [[0.0], [0.0]]
    assert prior.seen is None
    assert clean_sources(sources, [0.0, 20.0], prior, 0)[1] == [[0.0], [20.0]]
    assert prior.seen is not None


def test_noise_that_does_not_fit_the_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="2 sources"):
        clean_sources([scene(), scene()], [1.0], None, 0)


def test_only_the_noisy_image_of_a_batch_is_denoised() -> None:
    batch = torch.cat([scene(), (scene() + 20 / 127.5 * white(11, 1, 1, 192, 256)).clamp(-1, 1)])
    (cleaned,), (sigmas,) = clean_sources([batch], "auto", Wiener(1, 0.3), 0)
    assert sigmas[0] == 0
    assert sigmas[1] == pytest.approx(20, rel=0.1)
    assert torch.equal(cleaned[0], batch[0])
    assert not torch.equal(cleaned[1], batch[1])
