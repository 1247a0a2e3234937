"""The public door: images in memory in, the same kind out; what is new is one file, and what is wrong is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import ddfm
import sample
from guided_diffusion.samplers import Step
from tests.conftest import PriorFiles, make_pair


@pytest.fixture(scope="module")
def prior(tiny_prior: PriorFiles) -> ddfm.LoadedPrior:
    diffusion = ddfm.DiffusionConfig(timestep_respacing=3)
    return ddfm.open_prior(tiny_prior.config, diffusion=diffusion, device="cpu")


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    make_pair(tmp_path, "a", (70, 100), colour="vi")
    return [tmp_path / "ir/a.png", tmp_path / "vi/a.png"]


def test_paths_arrays_and_the_command_line_give_one_image(
    prior: ddfm.LoadedPrior, pair: list[Path], tiny_prior: PriorFiles, tmp_path: Path
):
    fused = ddfm.fuse(prior, pair)
    assert fused.grey.shape == (70, 100) and fused.color is not None and fused.color.shape == (70, 100, 3)
    arrays = [np.asarray(Image.open(path)) for path in pair]
    again = ddfm.fuse(prior, arrays)
    assert np.array_equal(again.grey, fused.grey) and again.grey.dtype == np.uint8
    (tmp_path / "d.yaml").write_text("timestep_respacing: 3\n")
    (tmp_path / "f.yaml").write_text(yaml.safe_dump({"fit": "pad"}))
    line = ["--input", str(tmp_path), "--save_dir", str(tmp_path / "out"), "--device", "cpu"]
    line += ["--diffusion_config", str(tmp_path / "d.yaml"), "--fusion_config", str(tmp_path / "f.yaml")]
    assert sample.main([*line, "--model_config", str(tiny_prior.config)]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/recon/a.png")), fused.grey)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/color/a.png")), fused.color)
    saved = Image.open(fused.save(tmp_path / "saved.png"))
    assert np.array_equal(np.asarray(saved), fused.color)
    told = json.loads(saved.text["ddfm"])  # pyright: ignore[reportAttributeAccessIssue]
    assert told["rectification"]["variant"] == "released" and told["prior"]["sha256"] == prior.info.sha256
    with pytest.raises(ValueError, match=r"ends in \.png"):
        fused.save(tmp_path / "saved.jpg")


def kinds() -> Iterator[Any]:
    for dtype, most in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1)):
        yield pytest.param(
            lambda x, dtype=dtype, most=most: (x * most).astype(dtype), id=f"numpy {dtype.__name__}"
        )
    yield pytest.param(lambda x: torch.from_numpy(x).float()[None], id="torch float32")
    yield pytest.param(lambda x: Image.fromarray((x * 255).astype(np.uint8)), id="pil")


@pytest.mark.parametrize("kind", [*kinds()])
def test_the_result_is_of_the_kind_of_the_sources(kind: Any):
    """One more grey level than rounding alone (half a level of the coarsest kind, stretched) apart: 3 of 255."""
    row, column = np.linspace(0, 1, 40)[:, None], np.linspace(0, 1, 50)[None]
    a, b = 0.2 + 0.6 * row + 0 * column, 0.1 + 0.8 * np.abs(np.sin(7 * column)) + 0 * row
    fused = ddfm.fuse(None, [kind(a), kind(b)], iterations=5)
    assert type(fused.grey) is type(kind(a)) and fused.color is None
    exact = ddfm.fuse(None, [a, b], iterations=5).grey
    values = np.asarray(fused.grey, dtype=np.float64).squeeze()
    scale = 1 if np.asarray(fused.grey).dtype.kind == "f" else np.iinfo(np.asarray(fused.grey).dtype).max
    assert np.abs(values / scale - exact).max() <= 3 / 255


@pytest.mark.parametrize(
    "image, words",
    [
        (np.full((40, 40), 100, np.int32), "int32, but must be uint8, uint16 or floating"),
        (np.full((40, 40), 3.0), r"spans 3 \.\.\. 3"),
        (np.full((40, 40), np.nan), "spans nan"),
        (np.zeros((40, 40, 2)), "shape"),
        (torch.zeros(40, 40, 3), "shape"),
        ([[1, 2]], "is a list"),
        (np.zeros((40, 50)), "one size"),
    ],
    ids=str,
)
def test_other_images_are_refused(image: Any, words: str):
    with pytest.raises(ValueError, match=words):
        ddfm.fuse(None, [np.zeros((40, 40)), image])


def test_wrong_names_and_options_are_refused(prior: ddfm.LoadedPrior, pair: list[Path]):
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rectification": "papr"}, "no rectification 'papr'; there are released, paper"),
        ({"sampler": "euler"}, "no sampler 'euler'; there are ddim, ddpm"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta is 0.5, but ddpm_loop has none"),
        ({"color_method": "lab"}, "color_method is 'lab'"),
        ({"rectification": 3}, "rectification is 3, but must be one of released, paper"),
        ({"rectification": Brighter}, r"the class Brighter: give an object, Brighter\(\)"),
        ({"sampler": 3}, "sampler is 3, but must be one of ddim, ddpm"),
        ({"seed": 0.5}, "seed is 0.5, but must be an integer"),
        ({"seed": -1}, "seed is -1, but must be from 0"),
        ({"warm_start": True}, "warm_start is True, but must be"),
        ({"eta": "0"}, "eta is '0', but must be"),
        ({"samples": 1.5}, "samples is 1.5, but must be"),
        ({"noise": "of"}, "noise is 'of', but must be"),
        ({"noise": 10}, "noise is 10, but must be"),
        ({"noise": [10.0, -1.0]}, r"noise is \[10.0, -1.0\], but must hold grey levels"),
        ({"register": "rigid"}, "register is 'rigid'"),
    ]
    for options, words in refused:
        with pytest.raises(ValueError, match=words):
            ddfm.fuse(prior, pair, **options)
    wrong: tuple[Any, ...] = (0, 2.5, "9")
    for iterations in wrong:
        with pytest.raises(ValueError, match=r"iterations is .*, but must be a whole number from 1 on"):
            ddfm.fuse(None, pair, iterations=iterations)
    no_lists: tuple[Any, ...] = (pair[0], np.zeros((2, 40, 40)), 3, iter(pair))
    for images in no_lists:
        with pytest.raises(ValueError, match=r"images is a .*: give a list of at least two"):
            ddfm.fuse(None, images)
    with pytest.raises(ValueError, match="prior is 'compact', which has no diffusion"):
        ddfm.fuse("compact", pair)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="2 sources, but there are 3"):
        ddfm.fuse(None, [*pair, pair[0]])
    with pytest.raises(ValueError, match="at least 32 pixels"):
        ddfm.fuse(None, [np.zeros((20, 40)), np.ones((20, 40))])
    with pytest.raises(ValueError, match="there is no prior 'large'; there are compact"):
        ddfm.open_prior("large")


def test_local_fusion_of_three_noisy_images_keeps_its_levels(prior: ddfm.LoadedPrior):
    """Sources that span 0.3 ... 0.7 of the range are not stretched; the network is asked about noise alone."""
    rng = np.random.default_rng(0)
    images = [
        np.clip(0.5 + 0.2 * np.sin(np.arange(64) / (4 + k))[None] + 0 * rng.random((48, 1)), 0, 1)
        for k in range(3)
    ]
    clean = ddfm.fuse(None, images, rectification="local_fast")
    assert clean.grey.min() > 0.2 and clean.grey.max() < 0.8 and clean.provenance["noise"] == [0.0] * 3
    noisy = [np.clip(image + rng.normal(0, 20 / 255, image.shape), 0, 1) for image in images]
    seen: list[int] = []
    fused = ddfm.fuse(
        prior,
        noisy,
        rectification="local",
        sampler=None,
        noise="auto",
        on_step=lambda step: seen.append(step.index),
    )
    assert all(12 < sigma < 30 for sigma in fused.provenance["noise"]) and fused.provenance["sampler"] is None
    assert len(seen) == fused.provenance["steps"]


@dataclass(frozen=True)
class Brighter:
    """A toy: the estimate gives way to the brighter source."""

    share: float = 1.0

    def start(self, sources: Any) -> Tensor:
        return torch.stack(list(sources)).amax(dim=0)

    def step(self, state: Tensor, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, Tensor]:
        return f + self.share * (state - f), state


def test_a_new_rectification_is_one_class(prior: ddfm.LoadedPrior, monkeypatch: pytest.MonkeyPatch):
    images = [np.random.default_rng(seed).random((32, 64)) for seed in (1, 2, 3)]
    fused = ddfm.fuse(prior, images, rectification=Brighter())
    np.testing.assert_allclose(
        fused.luma, np.max(images, axis=0) * 2 - 1, atol=1e-5
    )  # float32 of the last step
    monkeypatch.setitem(ddfm.RECTIFICATIONS, "brighter", Brighter)
    assert ddfm.fuse(None, images, rectification="brighter").provenance["rectification"] == {
        "variant": "brighter",
        "share": 1.0,
    }


def jump(
    prior: Any, x_T: Tensor, *, hook: Any = None, noise: Any = None, count: Any = None
) -> Iterator[Step]:
    """A toy: one estimate, and that is it."""
    index = prior.diffusion.num_timesteps - 1
    estimate = hook(prior.predict(x_T, index).pred_xstart, index)
    yield Step(index, int(prior.diffusion.timestep_map[index]), estimate, estimate)


def test_a_new_sampler_is_one_function(
    prior: ddfm.LoadedPrior, pair: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(ddfm.SAMPLERS, "jump", jump)
    seen: list[int] = []
    fused = ddfm.fuse(prior, pair, sampler="jump", on_step=lambda step: seen.append(step.index))
    assert seen == [2] and fused.provenance["sampler"] == "jump"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("predicts", ["epsilon", "start_x", "v"])
def test_any_function_is_a_prior(predicts: Any, channels: int):
    """Of one image it knows the truth, so every estimate is that image, whatever is predicted."""
    truth = torch.linspace(-0.5, 0.5, 32 * 32).view(1, 1, 32, 32).expand(1, channels, -1, -1)
    made = ddfm.function_prior(lambda x, t: x, predicts=predicts, channels=channels, respacing=4)
    process = made.diffusion

    def network(x: Tensor, t: Tensor) -> Tensor:
        index = int(np.flatnonzero(process.timestep_map == int(t[0]))[0])
        eps = process.eps_from_xstart(x, index, truth)
        return {"epsilon": eps, "start_x": truth, "v": process.v_target(truth, eps, index)}[predicts]

    prior = ddfm.function_prior(network, predicts=predicts, channels=channels, respacing=4)
    x_T = torch.randn(1, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    *_, last = ddfm.SAMPLERS["ddim"](prior, x_T)
    # float32 rounding of eps grows by 1 / sqrt(alphas_cumprod) = 157 in the first estimate
    torch.testing.assert_close(last.x_t, truth, rtol=0, atol=2e-4)
    with pytest.raises(ValueError, match="predicts is 'noise'"):
        ddfm.function_prior(network, predicts="noise")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fall from below 1"):
        ddfm.function_prior(network, alphas_cumprod=[0.5, 0.9])
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ddfm.function_prior(network, channels=2)


def test_a_grey_prior_fuses_as_a_colour_one_of_the_same_estimates(pair: list[Path]):
    """Both know the truth, grey; the released luma is then the same plane. 3 levels: rounding of studio range."""
    truth = torch.linspace(-0.5, 0.5, 96 * 128).view(1, 1, 96, 128)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return truth.expand(1, x.shape[1], -1, -1)

    grey, colour = (
        ddfm.fuse(ddfm.function_prior(network, predicts="start_x", channels=channels, respacing=4), pair).luma
        for channels in (1, 3)
    )
    np.testing.assert_allclose(grey, colour, atol=3 / 255)


def test_a_unet_of_diffusers_is_a_prior():
    diffusers = pytest.importorskip("diffusers")
    unet = diffusers.UNet2DModel(
        sample_size=32, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(32, 32),
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(prediction_type="v_prediction")
    prior = ddfm.diffusers_prior(unet, scheduler, respacing=2)
    assert prior.channels == 1 and prior.diffusion.model_mean_type == "v"
    images = [np.random.default_rng(seed).random((40, 50)) for seed in (1, 2)]
    assert ddfm.fuse(prior, images).grey.shape == (40, 50)


def test_a_folder_from_python(prior: ddfm.LoadedPrior, pair: list[Path], tmp_path: Path):
    events: list[Any] = []
    settings = ddfm.FolderSettings(
        tmp_path / "out", input=tmp_path, fusion=ddfm.FusionConfig(prior=False), device="cpu",
        diffusion=ddfm.DiffusionConfig(timestep_respacing=3), quiet=True,
    )  # fmt: skip
    record = ddfm.fuse_folder(settings, events.append)
    assert record.exit_status == 0 and [pair.status for pair in record.pairs] == ["done"]
    assert [event.index for event in events[:-1]] == [2, 1, 0] and events[-1].stem == "a"
    assert events[0].lumas().shape == (1, 64, 96)
    with pytest.raises(ValueError, match="no sampler 'euler'"):
        ddfm.fuse_folder(ddfm.FolderSettings(tmp_path / "o", diffusion=ddfm.DiffusionConfig(sampler="euler")))
