"""Judging a prior: closed forms for networks that know everything or nothing, then the tool end to end."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.cost import gflop, parameters
from benchmarks.step import Case, Outcome
from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.samplers import SAMPLERS
from guided_diffusion.script_util import empty_model
from tests.conftest import PriorFiles, write_variant
from tests.made_up import soft_scene
from tools import evaluate_prior
from tools.prior_card.curves import read_log
from tools.prior_card.denoising import (
    DENOISERS,
    add_noise,
    denoise_all,
    losses_by_timestep,
    psnr,
    spread_of_colours,
)
from tools.prior_card.samples import draw_samples, grid
from tools.training.photos import to_batch
from tools.training.validation import SIGMAS, sigma_timestep
from util.markdown import fill_card

CPU = torch.device("cpu")


def process(**options: object) -> GaussianDiffusion:
    return GaussianDiffusion.from_config(
        DiffusionConfig(timestep_respacing="", model_var_type="fixed_small", **options)  # pyright: ignore[reportArgumentType]
    )


def zero(x: Tensor, t: Tensor) -> Tensor:
    return torch.zeros_like(x)


def photos(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.fromarray(soft_scene(80, number)).save(folder / f"{number}.png")
    return folder


def test_psnr_of_known_errors():
    image = np.zeros((4, 4, 3), np.uint8)
    assert psnr(np.full((4, 4, 3), 255.0), image) == pytest.approx(0.0)
    assert psnr(np.full((4, 4, 3), 25.5), image) == pytest.approx(20.0)
    assert psnr(image, image) == math.inf
    assert psnr(np.full((4, 4, 3), 200, np.uint8), np.full((4, 4, 3), 225, np.uint8)) == pytest.approx(
        20 * math.log10(255 / 25)  # no wrap-around of bytes
    )


def test_a_network_that_says_nothing_leaves_the_noise_in():
    """eps = 0: the estimate is the noisy image, whose PSNR is 20 log10(255 / sigma)."""
    result = denoise_all(zero, process(), [soft_scene(seed=n) for n in range(3)], SIGMAS, [], 0, CPU)
    assert [level["sigma"] for level in result["levels"]] == list(SIGMAS)
    for level in result["levels"]:
        expected = 20 * math.log10(255 / level["sigma"])
        # 36,864 random numbers: a mean square within 2 %
        assert level["psnr"]["noisy"] == pytest.approx(expected, abs=0.1)
        assert level["psnr"]["prior_unclipped"] == pytest.approx(level["psnr"]["noisy"], abs=1e-3)  # float32
        assert level["psnr"]["prior"] > level["psnr"]["prior_unclipped"]  # clipping takes noise away
        assert level["psnr"]["prior"] == pytest.approx(np.mean(level["psnr_per_image"]["prior"]))


@pytest.mark.parametrize("mean_type", ["epsilon", "start_x", "previous_x"])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_network_that_knows_the_image_gives_it_back(mean_type: str, sigma: float):
    diffusion = process(model_mean_type=mean_type)
    photo = soft_scene()
    x_0 = torch.from_numpy(photo / 127.5 - 1).float().permute(2, 0, 1)[None]
    index = sigma_timestep(diffusion, sigma)

    def oracle(x: Tensor, t: Tensor) -> Tensor:
        assert t.tolist() == [index]
        if mean_type == "epsilon":
            return diffusion.eps_from_xstart(x, index, x_0)
        return x_0 if mean_type == "start_x" else diffusion.q_posterior_mean(x_0, x, index)

    level = denoise_all(oracle, diffusion, [photo], [sigma], [], 0, CPU)["levels"][0]
    # float32; x_0 from the mean of x_{t-1} divides rounding by a coefficient of about 0.01
    assert level["psnr"]["prior"] > 80


@pytest.mark.parametrize("name", ["nl_means", "tv"])
def test_companions_take_noise_away_and_get_what_the_network_gets(name: str, monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, np.ndarray] = {}
    denoiser = DENOISERS[name]

    def watched(noisy: np.ndarray, sigma: float) -> np.ndarray:
        seen["companion"] = noisy
        return denoiser(noisy, sigma)

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen["network"] = x[0].permute(1, 2, 0).numpy()
        return torch.zeros_like(x)

    monkeypatch.setitem(DENOISERS, name, watched)  # pyright: ignore[reportArgumentType]
    diffusion = process()
    level = denoise_all(network, diffusion, [soft_scene()], [25], [name], 0, CPU)["levels"][0]
    assert level["psnr"][name] > level["psnr"]["noisy"] + 5
    signal = math.sqrt(diffusion.alphas_cumprod[level["t"]])
    np.testing.assert_allclose(signal * (seen["companion"] / 127.5 - 1), seen["network"], atol=1e-5)


def test_noise_does_not_depend_on_the_other_images():
    photo = soft_scene()
    at_10, at_50 = (add_noise(photo, sigma, 0, 3) - photo for sigma in (10, 50))
    np.testing.assert_allclose(5 * at_10, at_50, atol=1e-9)
    assert not np.allclose(add_noise(photo, 10, 0, 4) - photo, at_10)


def test_loss_of_a_network_that_says_nothing_is_one_at_every_timestep():
    losses = losses_by_timestep(zero, process(), [soft_scene(seed=n) for n in range(2)], 7, 0, CPU)
    assert losses[0]["t"] == 0 and losses[-1]["t"] == 999 and len(losses) == 7
    # 24,576 squares of random numbers: a standard deviation of 0.01
    assert all(entry["mse"] == pytest.approx(1.0, abs=0.04) for entry in losses)


def test_a_colour_cast_is_measured_in_levels():
    """eps off by 0.01 in red is an x_0 off by 0.01 times sigma / alpha, of range 2."""
    diffusion = process()
    crop = soft_scene()

    def network(x: Tensor, t: Tensor) -> Tensor:
        alpha = math.sqrt(diffusion.alphas_cumprod[int(t)])
        eps = (x - alpha * to_batch([crop])) / math.sqrt(1 - alpha**2)
        return eps + torch.tensor([0.01, 0, 0])[:, None, None]

    first, last = losses_by_timestep(network, diffusion, [crop], 2, 0, CPU)
    for entry in (first, last):
        noise = (1 - diffusion.alphas_cumprod[int(entry["t"])]) / diffusion.alphas_cumprod[int(entry["t"])]
        expected = 127.5 * 0.01 * math.sqrt(noise / 3)
        assert entry["colour"] == pytest.approx(expected, rel=1e-3)  # float32, and 157 times its rounding


def test_the_spread_of_mean_colours():
    photos = [np.full((4, 6, 3), (value, 0, 9), np.uint8) for value in (10, 30)]
    assert spread_of_colours(photos) == pytest.approx(math.sqrt(100 / 3))


def test_cost_of_a_network_counted_by_hand():
    config = ModelConfig(64, 32, 1, channel_mult="1,1", attention_resolutions="", num_head_channels=32)
    assert parameters(config) == sum(p.numel() for p in empty_model(config).parameters())
    # the last convolution alone: 3x3x32 products and sums for 3 channels of 64x64 pixels
    last = 2 * 9 * 32 * 3 * 64 * 64 / 1e9
    learned = ModelConfig(**{**config.__dict__, "learn_sigma": True})
    assert gflop(learned, 64, 64) - gflop(config, 64, 64) == pytest.approx(last)
    # four times the pixels: four times all but attention, whose two products of (T, T) by (T, C) grow 16-fold
    attention = 2 * 2 * (32 * 32) ** 2 * 32 / 1e9
    grown = gflop(config, 128, 128) - 4 * gflop(config, 64, 64)
    assert grown == pytest.approx(12 * attention, rel=1e-3)  # the time embedding does not grow at all


def test_grids_hold_every_image_once():
    images = np.stack([np.full((8, 12, 3), value, np.uint8) for value in range(5)])
    sheet = grid(images)
    counts = np.unique(sheet[:, :, 0], return_counts=True)
    assert dict(zip(*counts, strict=True)) == {**dict.fromkeys(range(5), 96), 255: sheet[:, :, 0].size - 480}
    assert grid(images[:1]).shape == (8, 12, 3)


def test_a_sample_of_a_gaussian_is_that_gaussian():
    """The best network for images that are grey 0.5 and nothing else samples 0.5 from any noise."""
    diffusion = GaussianDiffusion.from_config(
        DiffusionConfig(timestep_respacing=10, model_var_type="fixed_small", model_mean_type="start_x")
    )

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.full_like(x, 0.5)

    for sampler in SAMPLERS:
        images = draw_samples(NetworkPrior(network, diffusion), SAMPLERS[sampler], (8, 16), [1, 2], CPU)
        assert images.shape == (2, 8, 16, 3) and (images == round(1.5 * 127.5)).all()


def test_samples_depend_on_their_own_seed_alone(tiny_prior: PriorFiles):
    model = empty_model(ModelConfig(**tiny_prior.keys))
    model.load_state_dict(torch.load(tiny_prior.checkpoint, weights_only=True), assign=True)
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=2))
    prior = NetworkPrior(model, diffusion)
    both = draw_samples(prior, SAMPLERS["ddpm"], (16, 32), [1, 2], CPU)
    np.testing.assert_array_equal(draw_samples(prior, SAMPLERS["ddpm"], (16, 32), [2], CPU)[0], both[1])
    assert (both[0] != both[1]).any()


def test_the_tool_writes_all_that_is_asked_for(
    tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str]
):
    log = tmp_path / "log.jsonl"
    entry = {"loss": 0.1, "val_loss": 0.2, "psnr_10": 30.0, "seconds": 1.0}
    log.write_text("".join(json.dumps({"step": step, **entry}) + "\n" for step in (1, 2, 2)))
    card = tmp_path / "card.md"
    marks = "".join(f"<!-- {name} -->\nold\n<!-- end -->\n" for name in ("cost", "denoising", "loss"))
    card.write_text(f"# Card\n{marks}tail\n")
    line = ["--model_config", str(tiny_prior.config), "--val", str(photos(tmp_path / "val")), "--crop", "64"]
    line += ["--sigmas", "25", "--loss_timesteps", "3", "--samples", str(tmp_path / "s"), "--sizes", "16x32"]
    line += ["--sample_count", "2", "--sample_steps", "2", "--json", str(tmp_path / "all.json")]
    line += ["--log", str(log), str(log), "--plots", str(tmp_path / "p"), "--card", str(card)]
    assert evaluate_prior.main(line) == 0
    report = json.loads((tmp_path / "all.json").read_text())
    (level,) = report["denoising"]["levels"]
    assert report["denoising"]["images"] == 2 and set(level["psnr"]) == {
        "noisy", "nl_means", "prior", "prior_unclipped",
    }  # fmt: skip
    assert report["cost"]["official"]["parameters"] == 552_814_086
    assert report["cost"]["official"]["gflop"] == pytest.approx(2240, abs=1)
    assert report["cost"]["prior"]["bytes"] == tiny_prior.checkpoint.stat().st_size
    assert [entry["t"] for entry in report["loss"]["timesteps"]] == [0, 250, 999]
    with Image.open(tmp_path / "s/samples_16x32.png") as image:
        assert image.size == (36, 32) and image.text["ddfm"] == "ddim, 2 steps, seeds 0 to 1"  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("training.png", "loss_by_timestep.png"):
        with Image.open(tmp_path / "p" / name) as image:
            assert np.asarray(image.convert("L")).std() > 5
    text = card.read_text()
    assert text.startswith("# Card\n") and text.endswith("tail\n") and "old" not in text
    psnr_cell = f"| {level['psnr']['prior']:.2f} |"
    assert psnr_cell in text and psnr_cell in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--dynamic_threshold"], "ddpm, 2 steps, dynamic threshold, seeds 5 to 5"),
        (["--no-dynamic_threshold"], "ddpm, 2 steps, seeds 5 to 5"),
    ],
)
def test_how_samples_are_drawn(tmp_path: Path, tiny_prior: PriorFiles, flags: list[str], text: str):
    """The flags go before the configuration of the process, and the picture says which it was."""
    opposite = "--no-dynamic_threshold" in flags
    shipped, process = Path("configs/diffusion_config.yaml"), tmp_path / "process.yaml"
    write_variant(shipped, process, dynamic_threshold=opposite)
    line = ["--model_config", str(tiny_prior.config), "--diffusion_config", str(process), "--seed", "5"]
    line += ["--samples", str(tmp_path), "--sizes", "16x16", "--sample_count", "1", "--sample_steps", "2"]
    assert evaluate_prior.main([*line, "--sampler", "ddpm", *flags]) == 0
    with Image.open(tmp_path / "samples_16x16.png") as image:
        assert image.text["ddfm"] == text  # pyright: ignore[reportAttributeAccessIssue]


def test_times_beside_the_official_architecture(
    tmp_path: Path, tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """With made-up outcomes: the real ones take minutes."""
    seconds = {True: 14.0, False: 0.5}

    def outcomes(cases: list[Case], rounds: int) -> dict[Case, list[Outcome]]:
        assert [(case.way, case.height, case.device) for case in cases] == [("ours", 256, "cpu")] * 2
        return {
            case: [Outcome(seconds["imagenet" in case.config], 0.4, 2**30, 1e11)] * rounds for case in cases
        }

    monkeypatch.setattr("benchmarks.table.take_turns", outcomes)
    path = tmp_path / "all.json"
    line = ["--model_config", str(tiny_prior.config), "--device", "cpu", "--time", "--json", str(path)]
    assert evaluate_prior.main(line) == 0
    out = capsys.readouterr().out
    assert "| this prior | ours, fp32 | 0.5 |" in out
    assert "| official architecture | ours, fp32 | 14 |" in out
    times = json.loads(path.read_text())["time"]
    assert [run["step"] for run in times["this prior"]] == [0.5] * 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model_path", "none.pt"], "none.pt does not exist"),
        (["--val", "none.tar"], "none.tar does not exist"),
        (["--val", "PHOTOS"], "no photograph of at least 256"),
        (["--val", "PHOTOS", "--crop", "65"], "65x65: this prior takes multiples of 2"),
        (["--samples", "s", "--sizes", "33x64"], "33x64: this prior takes multiples of 2"),
        (["--sample_steps", "1001"], "more than 1000"),
        (["--denoisers", "cbm3d"], "pip install bm3d"),
        (["--denoisers", "bm3d"], "--denoisers bm3d is not for priors of 3 channels"),
        (["--before", "x.yaml"], "--before is not for priors of 3 channels"),
        (["--thermal", "x"], "--thermal is not for priors of 3 channels"),
        (["--diffusion_config", "none.yaml"], "none.yaml"),
        (["--log", "none.jsonl", "--plots", "p"], "none.jsonl cannot be read"),
    ],
)
def test_what_cannot_start_says_why(
    tmp_path: Path, tiny_prior: PriorFiles, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, more: list[str], words: str,
):  # fmt: skip
    monkeypatch.setattr(evaluate_prior.importlib.util, "find_spec", lambda name: None)
    folder = str(photos(tmp_path / "val"))
    line = ["--model_config", str(tiny_prior.config), *(word.replace("PHOTOS", folder) for word in more)]
    assert evaluate_prior.main(line) == 2
    assert words in capsys.readouterr().err


def test_options_that_contradict(capsys: pytest.CaptureFixture[str]):
    for line in (["--log", "x"], ["--sizes", "64"], ["--images", "0"], ["--sigmas", "0"]):
        with pytest.raises(SystemExit) as stopped:
            evaluate_prior.main(line)
        assert stopped.value.code == 2
    assert "no size such as 320x480" in capsys.readouterr().err


def test_cbm3d_is_called_as_its_package_wants(monkeypatch: pytest.MonkeyPatch):
    """In place of the package: ranges of [0, 1] in, the standard deviation beside it, and range 255 out."""

    def bm3d_rgb(z: np.ndarray, sigma: float) -> np.ndarray:
        assert z.max() <= 1 and sigma == pytest.approx(25 / 255)
        return z

    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d_rgb=bm3d_rgb))
    np.testing.assert_allclose(DENOISERS["cbm3d"](soft_scene().astype(float), 25), soft_scene(), atol=1e-9)


def test_a_log_that_is_none(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    for content in ("", "no json\n", '{"loss": 1}\n', "[1]\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"log\.jsonl"):
            read_log(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_log(tmp_path / "none")
    path.write_text('{"step": 4, "loss": 1}\n{"step": 2, "loss": 3}\n{"step": 2, "loss": 2}\n')
    assert read_log(path) == [{"step": 2, "loss": 2}, {"step": 4, "loss": 1}]


def test_a_card_without_the_place(tmp_path: Path):
    card = tmp_path / "card.md"
    card.write_text("<!-- cost -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match="0 places <!-- loss -->"):
        fill_card(card, {"cost": "new", "loss": "new"})
    assert card.read_text() == "<!-- cost -->\n<!-- end -->\n"  # nothing half done
    fill_card(card, {"cost": r"back\1slash"})
    assert card.read_text() == "<!-- cost -->\nback\\1slash\n<!-- end -->\n"
