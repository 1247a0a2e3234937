"""The metrics against the group's own evaluator, libraries, hand-computed cases and their properties."""

from __future__ import annotations

import json
import math
import weakref

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, sobel
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity
from sklearn.metrics import mutual_info_score

from tests.conftest import golden
from util.evaluation.measures.common import information, mutual_information, qabf, ssim, vif_of
from util.evaluation.measures.filters import box_sums, correlate, correlate_all
from util.evaluation.measures.metric_image import VIF_WINDOWS, Image
from util.evaluation.metrics import METRICS, Protocol, evaluate, evaluate_images


def picture(seed: int, shape: tuple[int, int] = (60, 75)) -> np.ndarray:
    """A smooth random image that fills the grey levels."""
    image = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return np.round(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


PERFECT_QABF = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
A, B, F = picture(1), picture(2), picture(3)


@pytest.mark.parametrize("case", ["average", "maximum"])
def test_values_of_the_groups_own_evaluator(case: str):
    """1e-4 relative: the reference works in float32."""
    arrays = golden("metrics.npz")
    expected = json.loads(str(arrays[f"{case}_metrics"]))
    got = evaluate(arrays[f"{case}_F"], arrays[f"{case}_A"], arrays[f"{case}_B"])
    assert list(got) == list(METRICS) and set(got) == set(expected)
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("case", ["street", "noisy", "dark"])
def test_qabf_where_signs_of_angles_matter(case: str):
    """On noise and in the dark many horizontal responses are 0, and the sign of the other angles moves the value."""
    arrays = golden("metrics_zoo.npz")
    f, a, b = (arrays[f"{case}_{name}"] for name in "FAB")
    expected = json.loads(str(arrays["qabf"]))[case]
    assert evaluate(f, a, b, ["Qabf"])["Qabf"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("data_range", [2.0, 255.0])
def test_ssim_of_scikit_image(data_range: float):
    """1e-6 relative: sums are exact, and the score of a window is float32."""
    expected = [
        float(structural_similarity(F.astype(float), source.astype(float), data_range=data_range))  # pyright: ignore[reportArgumentType]
        for source in (A, B)
    ]
    assert ssim(Image(F), Image(A), Image(B), data_range) == pytest.approx(sum(expected), rel=1e-6)


def test_mutual_information_of_scikit_learn():
    expected = sum(mutual_info_score(F.ravel(), source.ravel()) for source in (A, B))
    assert mutual_information(Image(F), Image(A), Image(B)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", [(41, 44), (60, 530), (530, 60)])
def test_filters_of_scipy(shape: tuple[int, int]):
    """Blocks of rows and columns, what they leave over, every other window, windows that differ, zeros outside."""
    rng = np.random.default_rng(5)
    image, levels = rng.random(shape), rng.integers(0, 256, shape, dtype=np.int32)
    for taps in (3, 8, 17):
        window, other = rng.random(taps), rng.random(9)
        direct = convolve2d(image, np.outer(window, window)[::-1, ::-1], mode="valid")
        np.testing.assert_allclose(correlate(image, window), direct, rtol=1e-12)
        np.testing.assert_allclose(correlate(np.asfortranarray(image), window), direct, rtol=1e-12)
        np.testing.assert_allclose(correlate(image, window, step=2), direct[::2, ::2], rtol=1e-12)
        direct = convolve2d(image, np.outer(window, other)[::-1, ::-1], mode="valid")
        np.testing.assert_allclose(correlate(image, window, across=other), direct, rtol=1e-12)
        if taps % 2:
            direct = convolve2d(image, np.outer(window, window)[::-1, ::-1], mode="same")
            np.testing.assert_allclose(correlate_all(image, window), direct, rtol=1e-12)
    np.testing.assert_array_equal(box_sums(levels), convolve2d(levels, np.ones((7, 7), int), mode="valid"))


def test_what_two_images_share_is_computed_once_and_freed():
    """Both directions of a pair know it; a source does not keep what was compared with it."""
    f, a = Image(F), Image(A)
    assert information(f, a) == information(a, f) > 0
    assert vif_of(f, a) != vif_of(a, f)
    known = a.__dict__["_known"]
    assert list(known) == [f]
    gone = weakref.ref(f)
    del f
    assert gone() is None and not known  # at once: no cycle waits for the garbage collector


def test_values_before_rounding():
    """They count for all but the histograms."""
    exact = F + np.random.default_rng(6).uniform(-0.5, 0.5, F.shape)
    rounded, a, b = Image(F, exact), Image(A), Image(B)
    got, plain = (evaluate_images(image, a, b) for image in (rounded, Image(F)))
    assert {name for name in METRICS if got[name] == plain[name]} == {"EN", "MI"}
    assert got["SSIM"] == pytest.approx(
        sum(float(structural_similarity(exact, x.astype(float), data_range=2.0)) for x in (A, B)),  # pyright: ignore[reportArgumentType]
        rel=1e-5,
    )


def test_sobel_and_gaussians_of_scipy():
    image = F.astype(np.float64)
    for response, axis in zip(Image(F).sobel, (1, 0), strict=True):
        np.testing.assert_allclose(response, sobel(image, axis=axis, mode="constant"))
    for window in VIF_WINDOWS:
        assert len(window) in (17, 9, 5, 3)
        direct = convolve2d(image, np.outer(window, window), mode="valid")
        np.testing.assert_allclose(correlate(image, window), direct, rtol=1e-12)


def test_hand_computed_values():
    halves = np.zeros((44, 44), np.uint8)
    halves[:, 22:] = 200
    values = evaluate(halves, halves, halves)
    assert values["EN"] == pytest.approx(1.0)  # two levels, equally often: one bit
    assert values["SD"] == pytest.approx(100.0)
    assert values["SF"] == pytest.approx(200 / math.sqrt(43))  # one of 43 column differences is 200
    assert values["AG"] == pytest.approx(2 / 44 * 100 / math.sqrt(2))  # 100 in two of 44 columns
    assert values["MI"] == pytest.approx(2 * math.log(2))  # one bit in nats, twice
    stripes = np.zeros((44, 44), np.uint8)
    stripes[:, ::2] = 10
    between = evaluate(np.full((44, 44), 5, np.uint8), stripes, 10 - stripes)
    assert between["MSE"] == pytest.approx(25.0)
    assert between["EN"] == between["SD"] == between["MI"] == between["CC"] == 0
    assert between["SCD"] == pytest.approx(2.0)  # what B lacks of F is exactly A, and the other way round
    assert evaluate(stripes, stripes, 10 - stripes, ["MSE"], "standard")["MSE"] == pytest.approx(50.0)


@pytest.mark.parametrize("protocol", ["ddfm", "standard"])
def test_a_copy_of_both_sources_is_perfect(protocol: Protocol):
    values = evaluate(F, F, F, protocol=protocol)
    assert values["MSE"] == 0 and values["PSNR"] == math.inf
    assert values["CC"] == pytest.approx(1) and values["SSIM"] == pytest.approx(2)
    assert values["VIF"] == pytest.approx(2, abs=1e-6) and values["SCD"] == 0
    assert values["MI"] == pytest.approx(2 * math.log(2) * values["EN"])
    assert values["Qabf"] == pytest.approx(PERFECT_QABF, rel=2e-3 if protocol == "ddfm" else 1e-6)


@pytest.mark.parametrize("protocol", ["ddfm", "standard"])
def test_both_sources_count_the_same(protocol: Protocol):
    one, two = evaluate(F, A, B, protocol=protocol), evaluate(F, B, A, protocol=protocol)
    assert one == pytest.approx(two, rel=1e-9)


@pytest.mark.parametrize("protocol", ["ddfm", "standard"])
def test_more_noise_is_worse(protocol: Protocol):
    noise = np.random.default_rng(0).standard_normal(F.shape)
    names = ["MI", "CC", "PSNR", "VIF", "Qabf", "SSIM"]
    rows = [
        evaluate(np.clip(F + sigma * noise, 0, 255).astype(np.uint8), F, F, names, protocol)
        for sigma in (2, 8, 32)
    ]
    for name in names:
        assert rows[0][name] > rows[1][name] > rows[2][name], name


def test_what_the_protocols_differ_in():
    ddfm, standard = evaluate(F, A, B), evaluate(F, A, B, protocol="standard")
    different = {name for name in METRICS if ddfm[name] != standard[name]}
    assert different == {"SSIM", "Qabf"}  # F reaches 255, so that PSNR is the same
    dim = (F // 2).astype(np.uint8)
    change = evaluate(dim, A, B, protocol="standard")["PSNR"] - evaluate(dim, A, B)["PSNR"]
    assert change == pytest.approx(20 * math.log10(255 / dim.max()))


def test_quirks_of_qabf():
    """A copy keeps every edge; with the quirk its ratio of strengths is the gradient itself, be it above 1 or 0."""
    image = Image(np.tile(np.array([[9, 9, 10, 90]], np.uint8), (44, 11)))
    assert qabf(image, image, image, quirks=False) == pytest.approx(PERFECT_QABF, rel=1e-6)
    g = image.strength.astype(np.float64)
    kept = 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + math.exp(-4.4))
    assert qabf(image, image, image) == pytest.approx((kept * g).sum() / g.sum(), rel=1e-6)


def test_angles_of_edges():
    """A ramp along rows has angle 0, along columns pi/2 or -pi/2; of no edge it is 0, or pi/2 by the quirk.

    A diagonal one, brighter to the lower right, has -pi/4, for the horizontal response runs from right to left.
    """
    ramp = np.tile(np.arange(44, dtype=np.uint8), (44, 1))
    flat = np.full((44, 44), 9, np.uint8)
    cases = [(ramp, 0, 0), (ramp.T, math.pi / 2, math.pi / 2), (ramp.T[::-1], math.pi / 2, -math.pi / 2)]
    diagonal = (2 * ramp + 2 * ramp.T).astype(np.uint8)
    cases += [(flat, math.pi / 2, 0), (diagonal, -math.pi / 4, -math.pi / 4)]
    for image, with_quirk, without in cases:
        for quirks, angle in ((True, with_quirk), (False, without)):
            found = Image(np.ascontiguousarray(image))
            assert (found.quirky_angle if quirks else found.angle)[20, 20] == pytest.approx(angle)


def test_constant_images_have_no_nan():
    flat = np.full((44, 44), 9, np.uint8)
    for fused, source in ((flat, flat), (flat, picture(1, (44, 44))), (picture(1, (44, 44)), flat)):
        for protocol in ("ddfm", "standard"):
            values = evaluate(fused, source, source, protocol=protocol)
            assert not any(math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    "fused, metrics, word",
    [
        (F.astype(float), METRICS, "uint8"),
        (F[:-1], METRICS, "differ in size"),
        (F, ["XYZ"], "unknown metric XYZ"),
    ],
)
def test_wrong_input(fused: np.ndarray, metrics: list[str], word: str):
    with pytest.raises(ValueError, match=word):
        evaluate(fused, A, B, metrics)


def test_too_small_for_vif():
    small = np.zeros((40, 80), np.uint8)
    with pytest.raises(ValueError, match="at least 41"):
        evaluate(small, small, small)
    assert evaluate(np.eye(41, dtype=np.uint8), np.eye(41, dtype=np.uint8), np.eye(41, dtype=np.uint8))
