"""Local fusion: closed form against a sparse direct solve, likelihoods against differences, batches, borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import spsolve
from torch import Tensor

from guided_diffusion import neumann
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Prediction
from guided_diffusion.local import information
from guided_diffusion.local.ascent import WEIGHTS, deviation_of, envelope
from guided_diffusion.local.em import Local, LocalFast, closed_form, coupled
from guided_diffusion.local.tone import spread
from guided_diffusion.local.weights import (
    Task,
    detect_task,
    gradient_target,
    level_target,
    level_weights,
    task_of_names,
)
from guided_diffusion.rectification import rectification_from_mapping
from guided_diffusion.samplers import SAMPLERS
from tests.made_up import noise

TASKS: list[Task] = ["ivf", "mif", "focus", "exposure"]
every_task = pytest.mark.parametrize("task", TASKS)
shapes = pytest.mark.parametrize("shape", [(9, 14), (2, 3), (13, 8)], ids=str)


pytestmark = pytest.mark.usefixtures("one_thread")


def smooth(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A soft random scene with some texture, about [-1, 1]."""
    return neumann.blur(2 * noise(seed, *shape, dtype=dtype), 2.0) + 0.2 * noise(
        seed + 99, *shape, dtype=dtype
    )


def difference_matrix(height: int, width: int) -> Any:
    """Forward differences along rows, then along columns, of an image read row by row; none across the border."""

    def along(size: int) -> Any:
        one = sparse.identity(size).tocsr()
        return one[1:] - one[:-1]

    rows = sparse.kron(sparse.identity(height), along(width))
    columns = sparse.kron(along(height), sparse.identity(width))
    return sparse.vstack([rows, columns]).tocsr()


DIFFUSION = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=5))


def alone(rectification: LocalFast, sources: list[Tensor]) -> Tensor:
    return fuse(None, sources, diffusion=DIFFUSION, rectification=rectification)


def clean(sources: list[Tensor]) -> list[Tensor]:
    """No noise: (B, 1, 1, 1) of 0 a source."""
    return [torch.zeros_like(source[:, :, :1, :1]) for source in sources]


@shapes
@pytest.mark.parametrize("coupling", [0.0, 3.0])
def test_m_step_is_the_sparse_direct_solution(shape: tuple[int, int], coupling: float) -> None:
    """In double precision: condition at most 1 + 8 alpha = 1201 times 1e-16 and a few operations."""
    height, width = shape
    target, estimate = (
        noise(1, 1, 1, *shape, dtype=torch.float64),
        noise(2, 1, 1, *shape, dtype=torch.float64),
    )
    along, across = noise(3, 1, 1, *shape, dtype=torch.float64), noise(4, 1, 1, *shape, dtype=torch.float64)
    matrix = difference_matrix(height, width)
    stacked = np.concatenate([along[0, 0, :, :-1].numpy().ravel(), across[0, 0, :-1].numpy().ravel()])
    left = (1 + coupling) * sparse.identity(height * width) + 150 * matrix.T @ matrix
    right = target.numpy().ravel() + 150 * matrix.T @ stacked + coupling * estimate.numpy().ravel()
    expected = spsolve(left.tocsc(), right).reshape(shape)
    found = coupled(target, (along, across), 150.0, estimate, coupling)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-11 * np.abs(right).max()


def test_float32_is_within_the_rounding_of_the_transform() -> None:
    """The FFT's error is about eps log2(n) of the norm of what is solved for; the solve itself shrinks."""
    sources = [smooth(seed, 1, 1, 96, 120).clamp(-1, 1) for seed in (1, 2)]
    double = [source.double() for source in sources]
    target = level_target(double, "ivf", clean(double))
    edges = gradient_target(double, "ivf", clean(double), target)
    exact = coupled(target, edges, 150.0)
    single = coupled(target.float(), (edges[0].float(), edges[1].float()), 150.0)
    right = 150 * 8 * float(max(edges[0].abs().max(), edges[1].abs().max(), target.abs().max()))
    assert float((single - exact).abs().max()) < 2**-24 * np.log2(4 * 96 * 120) * right


def test_gradient_and_sobel_have_their_adjoints() -> None:
    """<A x, y> = <x, A' y>, double precision; so has the mirrored window, which is its own."""
    x, p, q = (noise(seed, 2, 1, 7, 10, dtype=torch.float64) for seed in (1, 2, 3))
    for forward, backward in (
        (neumann.gradient, neumann.gradient_adjoint),
        (information.sobel, information.sobel_adjoint),
    ):
        a, b = forward(x)
        assert float((a * p + b * q).sum()) == pytest.approx(float((x * backward(p, q)).sum()), abs=1e-11)
    window = neumann.gaussian_window(2.0)
    left, right = (neumann.correlate(x, window) * p).sum(), (x * neumann.correlate(p, window)).sum()
    assert float(left) == pytest.approx(float(right), abs=1e-11)


@pytest.mark.parametrize("name", ["Information", "Structure", "Edges"])
@pytest.mark.parametrize("count", [2, 3])
def test_likelihoods_have_the_gradient_of_their_value(name: str, count: int) -> None:
    """Against central differences in double precision: their error is h^2 of the third derivative, 1e-8 here."""
    sources = [100 * (smooth(seed, 2, 1, 26, 33, dtype=torch.float64) + 1.2) for seed in range(count)]
    likelihood = getattr(information, name)(sources)
    f = sum(sources) / count + 5 * noise(50, 2, 1, 26, 33, dtype=torch.float64)
    direction = noise(51, 2, 1, 26, 33, dtype=torch.float64)
    value, gradient = likelihood.score(f)
    assert value.shape == (2, 1, 1, 1)
    h = 1e-4
    ahead, behind = likelihood.score(f + h * direction)[0], likelihood.score(f - h * direction)[0]
    slope = ((ahead - behind) / (2 * h)).flatten()
    expected = (gradient * direction).sum(dim=(1, 2, 3))
    assert torch.allclose(slope, expected, rtol=1e-4, atol=1e-9)


def test_information_in_the_source_itself_is_one() -> None:
    source = 100 * (smooth(1, 1, 1, 40, 40, dtype=torch.float64) + 1.2)
    assert float(information.Information([source]).score(source)[0]) == pytest.approx(1, abs=2e-3)  # the 1e-2
    assert float(information.Structure([source]).score(source)[0]) == pytest.approx(1, abs=1e-12)


@every_task
@pytest.mark.parametrize("count", [2, 3, 8])
def test_batch_gives_what_its_members_give(task: Task, count: int) -> None:
    """Rounding of the FFT may differ with the batch: 1e-5 is a thousandth of a grey level."""
    sources = [smooth(seed, 3, 1, 30, 41).clamp(-1, 1) for seed in range(count)]
    together = closed_form(sources, task)
    tone = spread(together, 0.2, 50 * (sources[0] + 2))
    for row in range(3):
        single = [source[row : row + 1] for source in sources]
        alone = closed_form(single, task)
        assert torch.allclose(together[row : row + 1], alone, atol=1e-5)
        curve = spread(together[row : row + 1], 0.2, 50 * (single[0] + 2))
        assert torch.equal(tone[row : row + 1], curve)


def test_iterations_give_the_batch_what_they_give_its_members() -> None:
    """Twenty normalised steps carry rounding on: a pixel whose slope is rounding may differ by some of a level."""
    sources = [smooth(seed, 2, 1, 40, 48).clamp(-1, 1) for seed in (1, 2)]
    together = alone(Local(steps=5), sources)
    for row in range(2):
        single = alone(Local(steps=5), [source[row : row + 1] for source in sources])
        assert float((together[row : row + 1] - single).abs().mean()) < 1e-4


@every_task
def test_equal_sources_are_kept(task: Task) -> None:
    source = smooth(3, 1, 1, 31, 24).clamp(-1, 1)
    assert torch.allclose(closed_form([source, source, source], task), source, atol=1e-5)


@every_task
def test_constant_images_stay_constant(task: Task) -> None:
    a, b = torch.full((1, 1, 20, 30), -0.4), torch.full((1, 1, 20, 30), 0.2)
    fused = alone(Local(task=task, tone=0.3, steps=3), [a, b])
    assert torch.isfinite(fused).all()
    assert float(fused.max() - fused.min()) < 1e-5
    assert -0.4 - 1e-5 <= float(fused.mean()) <= 0.2 + 1e-5


def test_nothing_wraps_around_at_the_borders() -> None:
    """A bright bar at the left border leaves the right border as it is."""
    dark = torch.full((1, 1, 40, 300), -0.6)
    bar = dark.clone()
    bar[..., :10] = 0.8
    fused = closed_form([bar, dark], "ivf")
    assert float((fused[..., -20:] + 0.6).abs().max()) < 1e-3
    assert float(fused[..., :8].mean()) > 0.6


def test_contradicting_edges_leave_no_halo() -> None:
    """A sky that is dark in one source and bright in the other, above a grey roof: on the sky's side of the edge it
    stays as bright as it is far away, to a tenth of the step that the darker source has there."""
    sky = torch.arange(60)[:, None] < 30
    dark = torch.where(sky, -0.8, -0.1).expand(1, 1, 60, 80)
    bright = torch.where(sky, 0.6, -0.5).expand(1, 1, 60, 80)
    fused = closed_form([dark, bright], "ivf")
    assert float((fused[..., 20:28, :] - fused[..., 4:8, :].mean()).abs().max()) < 0.07


@pytest.mark.parametrize(
    "rectification", [LocalFast(task="mif"), Local(task="mif", steps=6)], ids=["fast", "local"]
)
def test_black_beside_a_body_stays_black(rectification: LocalFast) -> None:
    """A bright disc on black in both sources, of different sizes: the transform spreads, Eq. (5) does not let it.

    Further from both discs than the window of the deviation, 6 pixels, black is exact.
    """
    rows, columns = torch.meshgrid(torch.arange(64) - 32, torch.arange(72) - 36, indexing="ij")
    distance = (rows.square() + columns.square()).float().sqrt()
    discs = [
        torch.where(distance < radius, level, -1.0)[None, None] for radius, level in ((14, 0.9), (18, 0.2))
    ]
    fused = alone(rectification, discs)
    assert float((fused[0, 0][distance > 18 + 9] + 1).abs().max()) < 1e-6
    unbounded = closed_form(discs, "mif")
    assert float((unbounded[0, 0][distance > 18 + 9] + 1).abs().max()) > 1e-3


def test_fusion_stays_within_what_its_sources_show() -> None:
    """Where the sources vary little there is no room beyond them; where they are noisy, twice the noise."""
    sources = [smooth(seed, 2, 1, 40, 50).clamp(-1, 1) for seed in (1, 2)]
    low, high = envelope(sources)
    room = high - torch.maximum(*sources)
    assert torch.allclose(room, torch.minimum(*sources) - low, atol=1e-6)
    assert float((room - deviation_of(sources) / 255).max()) <= 1e-6
    told = envelope(sources, [torch.full((2, 1, 1, 1), 0.05)] * 2)
    assert float((told[1] - torch.maximum(*sources)).min()) >= 0.1 - 1e-6
    flat = [torch.full((1, 1, 20, 20), level) for level in (-0.4, 0.2)]
    assert torch.allclose(envelope(flat)[0], flat[0], atol=1e-5)
    assert torch.allclose(envelope(flat)[1], flat[1], atol=1e-5)


def test_fusion_mirrors_with_its_sources() -> None:
    """Levels and solve know no side; forward differences do, by half a pixel: compare what has no gradient weight."""
    sources = [smooth(seed, 1, 1, 20, 28).clamp(-1, 1) for seed in (5, 6)]
    flipped = level_weights([source.flip(-1) for source in sources], "exposure", clean(sources))
    for a, b in zip(level_weights(sources, "exposure", clean(sources)), flipped, strict=True):
        assert torch.allclose(a, b.flip(-1), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 64, 96), (2, 3, 37, 53), (1, 1, 9, 130), (1, 2, 3, 5)])
def test_the_quick_ways_of_a_cpu_are_those_of_other_devices(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Whatever sides, blocks and windows; gradients go the ways that every device has."""
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    recorded = x.clone().requires_grad_()
    bound = {torch.float32: 2e-6, torch.float64: 1e-14}[dtype]
    for sigma in (0.7, 1.5, 3.0):
        slow = neumann.blur(recorded, sigma)
        assert slow.requires_grad and slow.shape == shape
        assert float((neumann.blur(x, sigma) - slow.detach()).abs().max()) < bound
    slow = neumann.solve(recorded, lambda e: 1 / (1 + 40 * e))
    quick = neumann.solve(x, lambda e: 1 / (1 + 40 * e))
    assert slow.requires_grad and quick.shape == shape and float((quick - slow.detach()).abs().max()) < bound


def test_a_wide_blur_is_a_gaussian_on_mirrored_borders() -> None:
    """The cosine transform's response is that of diffusion on the grid; a sampled Gaussian differs by O(sigma^-2)."""
    image = noise(7, 1, 1, 60, 90).clamp(-1, 1)
    found = neumann.wide_blur(image, 8.0)[0, 0].numpy()
    wanted = gaussian_filter(image[0, 0].double().numpy(), 8.0, mode="reflect", truncate=8.0)
    assert np.abs(found - wanted).max() < np.abs(wanted - wanted.mean()).max() / 8.0**2


def test_what_is_burnt_out_in_one_exposure_leaves_no_cloud() -> None:
    """Light that grows to the right is told growing. What falls where the long exposure burns out, the cloud, is less
    than half of what weights of one scale leave."""
    light = torch.linspace(0, 1, 320).expand(1, 1, 96, 320)
    sources = [(gain * light).clamp(max=1) * 2 - 1 for gain in (4.0, 0.6)]
    weights = level_weights(sources, "exposure", clean(sources))
    one_scale = weights[0] * sources[0] + weights[1] * sources[1]

    def falls(levels: Tensor) -> float:
        return float((levels.cummax(-1).values - levels)[0, 0, 48].max())

    assert falls(level_target(sources, "exposure", clean(sources))) < 0.5 * falls(one_scale)


@every_task
def test_order_of_the_sources_has_no_say(task: Task) -> None:
    sources = [smooth(seed, 1, 1, 24, 24).clamp(-1, 1) for seed in (1, 2, 3)]
    assert torch.allclose(closed_form(sources, task), closed_form(sources[::-1], task), atol=1e-5)


def test_noise_that_is_known_leaves_less_of_it() -> None:
    """Flat sources with noise: told of it, the closed form averages gradients down; not told, it keeps them."""
    torch.manual_seed(0)
    sources = [torch.full((1, 1, 64, 64), level) + 0.1 * torch.randn(1, 1, 64, 64) for level in (-0.2, 0.1)]
    naive, told = (
        closed_form(sources, "ivf"),
        closed_form(sources, "ivf", [torch.full((1, 1, 1, 1), 0.1)] * 2),
    )
    assert float(told.std()) < 0.6 * float(naive.std())


def test_coupling_goes_from_the_sources_to_the_estimate() -> None:
    sources, estimate = (
        [smooth(seed, 1, 1, 20, 20).clamp(-1, 1) for seed in (1, 2)],
        smooth(3, 1, 1, 20, 20).clamp(-1, 1),
    )
    free = closed_form(sources, "ivf")
    assert torch.equal(closed_form(sources, "ivf", estimate=estimate, coupling=0.0), free)
    assert torch.allclose(closed_form(sources, "ivf", estimate=estimate, coupling=1e7), estimate, atol=1e-3)


def test_iterations_raise_what_they_climb_and_keep_the_bound() -> None:
    sources = [smooth(seed, 1, 1, 48, 64).clamp(-1, 1) for seed in (1, 2)]
    first, last = alone(LocalFast(tone=0.0), sources), alone(Local(tone=0.0, steps=10), sources)
    grey = [(source + 1) * 127.5 for source in sources]
    total = [0.0, 0.0]
    kinds = (information.Structure, information.Information, information.Edges)
    for weight, kind in zip(WEIGHTS, kinds, strict=True):
        for place, f in enumerate((first, last)):
            total[place] += weight * float(kind(grey).score((f + 1) * 127.5)[0])
    assert total[1] > total[0] + 0.05
    assert float(((last - first.clamp(-1, 1)).abs() - deviation_of(sources) / 127.5).max()) < 1e-4


def test_a_batch_of_two_tasks_is_two_images() -> None:
    """``auto`` looks at each image: a batch holds a slice and a street."""
    base = [smooth(seed, 1, 1, 64, 64).clamp(-1, 1) for seed in (1, 2)]
    slices = [torch.where(torch.arange(64) < 40, torch.tensor(-1.0), source) for source in base]
    batch = alone(LocalFast(), [torch.cat(rows) for rows in zip(base, slices, strict=True)])
    assert torch.allclose(batch[:1], alone(LocalFast(task="ivf"), base), atol=1e-5)
    assert torch.allclose(batch[1:], alone(LocalFast(task="mif"), slices), atol=1e-5)


def test_iterations_leave_multi_focus_images_alone_in_a_batch_too() -> None:
    scenes = [smooth(seed, 1, 1, 64, 64).clamp(-1, 1) for seed in (1, 2)]
    left, sharp = torch.arange(64) < 32, scenes[0]
    soft = neumann.blur(sharp, 2.0)
    pair = [torch.where(left, sharp, soft), torch.where(left, soft, sharp)]
    focus = alone(LocalFast(task="focus"), pair)
    assert torch.equal(alone(Local(task="focus", steps=4), pair), focus)
    assert detect_task(pair)[0] == "focus" and detect_task(scenes)[0] == "ivf"
    batch = alone(Local(steps=4), [torch.cat(rows) for rows in zip(pair, scenes, strict=True)])
    assert torch.allclose(batch[:1], focus, atol=1e-5)
    assert not torch.allclose(batch[1:], alone(LocalFast(task="ivf"), scenes), atol=1e-2)


class OneImage:
    """A prior that is sure of one image, whatever it sees."""

    diffusion = DIFFUSION

    def __init__(self, image: Tensor) -> None:
        self.image, self.channels = image, image.shape[1]

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        return Prediction(self.image.expand_as(x_t), torch.zeros_like(x_t[:, :1, :1, :1]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("rectification", [LocalFast(), Local(steps=2)], ids=["fast", "local"])
def test_it_works_in_every_sampler_with_grey_and_colour(
    rectification: LocalFast, sampler: str, channels: int
) -> None:
    """A prior that agrees with the fusion is what is returned; so says every sampler's last step."""
    sources = [smooth(seed, 1, 1, 32, 64).clamp(-0.9, 0.9) for seed in (1, 2)]
    expected = alone(rectification, sources)
    prior = OneImage(expected.expand(-1, channels, -1, -1))
    found = fuse(prior, sources, rectification=rectification, sampler=SAMPLERS[sampler])
    assert torch.allclose(found, expected, atol=1e-3)


def test_settings_come_from_a_mapping_and_are_checked() -> None:
    assert rectification_from_mapping({"variant": "local", "tone": 0}, "x.yaml") == Local(tone=0.0)
    assert rectification_from_mapping({"variant": "local_fast", "task": "mif"}, "x.yaml") == LocalFast("mif")
    for wrong in ({"tone": 2.0}, {"task": "street"}, {"coupling": -1.0}, {"steps": -1}, {"rho": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            rectification_from_mapping({"variant": "local", **wrong}, "x.yaml")


def test_tone_spreads_keeps_order_and_is_off_at_zero() -> None:
    image = 0.3 * smooth(1, 1, 1, 60, 60).clamp(-1, 1)
    activity = torch.full_like(image, 10.0)
    assert spread(image, 0.0, activity) is image
    spread_image = spread(image, 0.5, activity)
    assert float(spread_image.std()) > 1.2 * float(image.std())
    order = image.flatten().argsort()
    assert float(spread_image.flatten()[order].diff().min()) > -1e-6
    assert torch.allclose(
        spread(image, 0.5, torch.zeros_like(image)), image, atol=1e-6
    )  # nothing has content


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([torch.zeros(1, 1, 4, 4)], "2 to 8"),
        ([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5)], "must all be"),
        ([torch.zeros(1, 3, 4, 4)] * 2, "must all be"),
        ([torch.zeros(1, 1, 4, 4, dtype=torch.uint8)] * 2, "floating type"),
    ],
)
def test_sources_that_do_not_fit_are_refused(sources: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        closed_form(sources, "ivf")


def test_task_is_told_from_names_and_images() -> None:
    base = smooth(1, 1, 1, 64, 64).clamp(-1, 1)
    assert task_of_names(["RoadScene", "ir"]) == ("ivf", "roadscene")
    assert task_of_names(["MRI_CT", "ir", "MRI_CT", "vi"]) == ("mif", "mri")
    assert task_of_names(["input", "ir", "vi", "overview"]) is None
    assert detect_task([base, -base])[0] == "ivf"
    assert detect_task([base, neumann.blur(base, 0.5)])[0] == "focus"
    assert detect_task([0.5 * base + 0.4, 0.5 * base - 0.4])[0] == "exposure"
    slices = [torch.where(torch.arange(64) < 40, torch.tensor(-1.0), s) for s in (base, -base)]
    assert detect_task(slices)[0] == "mif"


def test_strong_blur_is_focus_and_bent_curves_are_exposures() -> None:
    """A scene whose halves are out of focus by turns, and one whose curves rise but bend: neither has levels that
    correlate well. A night scene, black for an eighth, is no slice."""
    texture = noise(3, 1, 1, 96, 96)
    scene = 2 * neumann.blur(noise(4, 1, 1, 96, 96), 10.0) + 0.5 * texture
    blurred, left = neumann.blur(scene, 4.0), torch.arange(96) < 48
    assert detect_task([torch.where(left, scene, blurred), torch.where(left, blurred, scene)])[0] == "focus"
    light = torch.linspace(0, 1, 96 * 96).view(1, 1, 96, 96)
    over, under = 1 - 2 * (1 - light) ** 8, 2 * light**8 - 1
    assert float(torch.corrcoef(torch.stack([over.flatten(), under.flatten()]))[0, 1]) < 0.5
    assert detect_task([over, under])[0] == "exposure"
    night = smooth(5, 1, 1, 96, 96).clamp(-0.8, 1)
    night[..., :12, :] = -1.0
    assert detect_task([night, smooth(6, 1, 1, 96, 96).clamp(-0.8, 1)])[0] == "ivf"
