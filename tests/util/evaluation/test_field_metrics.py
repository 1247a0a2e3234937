"""The field's further metrics against the survey toolbox's numbers, plain loops, libraries and their properties."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import convolve
from skimage.metrics import normalized_mutual_information, structural_similarity
from sklearn.metrics import mutual_info_score

from tests.conftest import golden
from tests.util.evaluation.test_metrics import A, B, F, picture
from util.evaluation.measures.feature_information import feature_mutual_information
from util.evaluation.measures.metric_image import Image
from util.evaluation.metrics import ALL_METRICS, LOWER_IS_BETTER, ZOO_METRICS, Protocol, evaluate

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


def images(shape: tuple[int, int] = (41, 44), first: int = 4) -> Triple:
    return picture(first, shape), picture(first + 1, shape), picture(first + 2, shape)


SMALL = images()
WITHOUT_PYWAVELETS = [name for name in ALL_METRICS if name != "FMI_wavelet"]


@pytest.mark.parametrize("case", ["street", "noisy", "dark"])
def test_values_of_the_surveys_toolbox(case: str):
    """All 21 within 1e-4, for the toolbox works in float32."""
    arrays = golden("metrics_zoo.npz")
    expected = json.loads(str(arrays["zoo"]))[case]
    f, a, b = (arrays[f"{case}_{name}"] for name in "FAB")
    got = evaluate(f, a, b, ZOO_METRICS, "zoo")
    assert set(got) == set(expected)
    for name, value in expected.items():
        if value is None:  # it refuses MS-SSIM of small images
            assert math.isnan(got[name])
        else:
            assert got[name] == pytest.approx(value, rel=1e-4), name


def joint(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Nelsen's joint distribution of two densities over places, cell by cell."""
    n = len(p)
    cp, cq = np.cumsum(p), np.cumsum(q)
    c = 0.0 if np.ptp(p) == 0 or np.ptp(q) == 0 else np.corrcoef(p, q)[0, 1]

    def bound(x: float, y: float) -> float:
        return min(x, y) if c >= 0 else max(x + y - 1, 0.0)

    places = np.arange(1, n + 1)
    deviation = [math.sqrt(max((places**2 * d).sum() - (places * d).sum() ** 2, 0)) for d in (p, q)]
    covariance = sum(bound(x, y) - x * y for x in cp for y in cq)
    share = 0.0 if c == 0 or 0 in deviation else c / (covariance / (deviation[0] * deviation[1]))
    cumulative = np.array([[bound(x, y) for y in [0, *cq]] for x in [0, *cp]])
    cells = np.diff(np.diff(cumulative, axis=0), axis=1)
    return share * cells + (1 - share) * np.outer(p, q)


def entropy(p: np.ndarray) -> float:
    p = p[np.abs(p) > 1e-12]
    return float(-(p * np.log2(np.abs(p))).sum())


def fmi(f: np.ndarray, source: np.ndarray) -> float:
    total = []
    for row in range(f.shape[0] - 2):
        for column in range(f.shape[1] - 2):
            window = (slice(row, row + 3), slice(column, column + 3))
            x, y = (image[window].ravel(order="F") for image in (f, source))
            if (x == y).all():
                total.append(1.0)
                continue
            p, q = (
                np.full(9, 1 / 9) if np.ptp(v) == 0 else (v - v.min()) / (v - v.min()).sum() for v in (x, y)
            )
            total.append(2 * (1 - entropy(joint(p, q)) / (entropy(p) + entropy(q))))
    return float(np.mean(total))


@pytest.mark.parametrize("feature", ["pixel", "gradient", "dct"])
def test_fmi_window_by_window(feature: str):
    def features(image: np.ndarray) -> np.ndarray:
        values = image.astype(float)
        if feature == "dct":
            return dctn(values, norm="ortho")  # pyright: ignore[reportReturnType]
        return values if feature == "pixel" else np.gradient(values)[1]

    f, a, b = (features(image) for image in SMALL)
    expected = (fmi(f, a) + fmi(f, b)) / 2
    # float32 in the metric: a nearly flat window may tip to the other side of a threshold
    assert evaluate(*images(), [f"FMI_{feature}"])[f"FMI_{feature}"] == pytest.approx(expected, rel=2e-4)


def test_fmi_of_wavelets():
    """The transform by convolutions with the wavelet's filters; windows are read as those of pixels."""
    pywt = pytest.importorskip("pywt", reason="needs PyWavelets")
    wavelet = pywt.Wavelet("dmey")
    low, high = np.array(wavelet.dec_lo), np.array(wavelet.dec_hi)

    def halved(plane: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """Along the first axis, mirrored beyond its ends, every second place."""
        mirrored = np.pad(plane, [(len(taps) - 1,) * 2, (0, 0)], mode="symmetric")
        return np.array([np.convolve(column, taps, "valid")[1::2] for column in mirrored.T]).T

    def transformed(levels: np.ndarray) -> Image:
        rows = [halved(levels.astype(float), taps) for taps in (low, high)]
        parts = [[halved(part.T, taps).T for part in rows] for taps in (low, high)]
        return Image(levels, np.block(parts))

    f, a, b = SMALL
    expected = feature_mutual_information(transformed(f), transformed(a), transformed(b))
    # windows of rounding errors alone, far from the image, may tip to the other side of a threshold
    assert evaluate(f, a, b, ["FMI_wavelet"])["FMI_wavelet"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["BRISQUE", "niqe", "MUSIQ"])
def test_metrics_without_reference_are_named(name: str):
    with pytest.raises(ValueError, match=f"{name.upper()} is not measured here.*install pyiqa"):
        evaluate(F, A, B, [name])


def test_fmi_of_wavelets_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pywt", None)
    with pytest.raises(ValueError, match="needs the package PyWavelets"):
        evaluate(*images(), ["FMI_wavelet"])


def windows(image: np.ndarray, side: int) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view(image.astype(float), (side, side))
    return view.reshape(*view.shape[:2], side * side)


def piella(f: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Q_W window by window."""
    wf, *ws = (windows(image, 8) for image in (f, a, b))
    quality, weight = 0.0, 0.0
    for row, column in np.ndindex(wf.shape[:2]):
        x, saliences, scores = wf[row, column], [], []
        for source in ws:
            y = source[row, column]
            covariance = np.cov(x, y)
            scores.append(
                4 * covariance[0, 1] * x.mean() * y.mean()
                / ((covariance[0, 0] + covariance[1, 1]) * (x.mean() ** 2 + y.mean() ** 2))
            )  # fmt: skip
            saliences.append(y.var())
        share = saliences[0] / sum(saliences)
        quality += max(saliences) * (share * scores[0] + (1 - share) * scores[1])
        weight += max(saliences)
    return quality / weight


def test_quality_of_piella_window_by_window():
    got = evaluate(*images(), ["Q_W", "Q_E"])
    assert got["Q_W"] == pytest.approx(piella(*SMALL), rel=1e-8)
    step = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    edges = [
        np.hypot(*(convolve(image.astype(float), kernel, mode="constant") for kernel in (step, step.T)))
        for image in SMALL
    ]
    assert got["Q_E"] == pytest.approx(piella(*SMALL) * piella(*edges), rel=1e-8)


def test_mef_ssim_patch_by_patch():
    axis = np.arange(-5, 6)
    bell = np.exp(-(axis[:, None] ** 2 + axis**2) / 4.5).ravel()
    bell /= bell.sum()

    def scale(f: np.ndarray, sources: list[np.ndarray]) -> float:
        wf, ws = windows(f, 11), [windows(source, 11) for source in sources]
        scores = []
        for place in np.ndindex(wf.shape[:2]):
            centred = [w[place] - w[place].mean() for w in ws]
            norms = [np.linalg.norm(x) for x in centred]
            r = np.linalg.norm(sum(centred)) / sum(norms)
            power = min(math.tan(math.pi / 2 * min(r, 1 - 1e-12)), 10)
            structure = sum(
                (n + 0.001) ** power * x / (n + 0.001) for n, x in zip(norms, centred, strict=True)
            )
            wished = structure / np.linalg.norm(structure) * (max(norms) + 0.001)
            y = wf[place]
            covariance = np.cov(wished, y, aweights=bell, bias=True)
            constant = 7.65**2
            scores.append((2 * covariance[0, 1] + constant) / (np.trace(covariance) + constant))
        return float(np.mean(scores))

    def halved(image: np.ndarray) -> np.ndarray:
        image = np.pad(image, [(0, side % 2) for side in image.shape], mode="edge")
        return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4

    planes, expected = [picture(seed, (49, 52)).astype(float) for seed in (7, 8, 9)], 1.0
    weights = np.array([0.0448, 0.2856, 0.3001])
    for index, weight in enumerate(weights / weights.sum()):
        planes = [halved(plane) for plane in planes] if index else planes
        expected *= scale(planes[0], planes[1:]) ** weight
    got = evaluate(*images((49, 52), 7), ["MEF_SSIM"])
    assert got["MEF_SSIM"] == pytest.approx(expected, rel=1e-6)


def test_quality_of_chen_and_varshney_region_by_region():
    """Frequencies by the whole complex transform and the centred grid of its definition."""

    def unit(image: np.ndarray) -> np.ndarray:
        return 255 * (image.astype(float) - image.min()) / np.ptp(image)

    f, a, b = (unit(picture(seed, (48, 64))) for seed in (1, 2, 3))
    v, u = np.meshgrid(np.arange(-24, 24) / 24 * 48 / 8, np.arange(-32, 32) / 32 * 64 / 8, indexing="ij")
    r = np.hypot(u, v)
    filtering = 2.6 * (0.0192 + 0.144 * r) * np.exp(-((0.144 * r) ** 1.1))
    step = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    error = weight = 0.0
    for source in (a, b):
        spectrum = np.fft.fftshift(np.fft.fft2(source - f)) * filtering
        seen = np.fft.ifft2(np.fft.ifftshift(spectrum)).real
        edges = np.hypot(*(convolve(source, kernel, mode="constant") for kernel in (step, step.T)))
        for row, column in np.ndindex(3, 4):
            region = (slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
            salience = (edges[region] ** 5).sum()
            error += salience * (seen[region] ** 2).mean()
            weight += salience
    got = evaluate(*images((48, 64), 1), ["Q_CV"])
    assert got["Q_CV"] == pytest.approx(error / weight, rel=1e-9)


def test_information_by_libraries():
    got = evaluate(F, A, B, ["Q_MI", "MI_min"])
    assert got["MI_min"] == pytest.approx(
        min(mutual_info_score(F.ravel(), x.ravel()) for x in (A, B)), rel=1e-10
    )
    # scikit-image has (H(F) + H(A)) / H(F, A) = 1 / (1 - Q / 2) for the Q of one source
    ratios = [float(normalized_mutual_information(F, x, bins=256)) for x in (A, B)]
    assert got["Q_MI"] == pytest.approx(
        sum(2 * (1 - 1 / ratio) for ratio in ratios), rel=1e-2
    )  # its bins are ours


def test_gaussian_ssim_by_a_library():
    f, a, b = (picture(seed, (176, 181)) for seed in (1, 2, 3))

    def of(x: np.ndarray, y: np.ndarray) -> float:
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        return float(structural_similarity(x.astype(float), y.astype(float), **options))  # type: ignore[arg-type]

    assert evaluate(f, a, b, ["SSIM"], "zoo")["SSIM"] == pytest.approx(of(f, a) + of(f, b), rel=1e-6)


@pytest.mark.parametrize("name", ["MI", "VIF", "CC", "SSIM"])
def test_minima_cannot_be_won_by_a_copy(name: str):
    """Of a copy of A only what the sources share counts, whatever the sum says."""
    copy = evaluate(A, A, B, [name, f"{name}_min"])
    other = evaluate(A, B, B, [f"{name}_min"])
    assert copy[f"{name}_min"] == pytest.approx(other[f"{name}_min"], rel=1e-12)
    assert copy[f"{name}_min"] < 0.4 * copy[name]


@pytest.mark.parametrize("protocol", ["ddfm", "standard", "zoo"])
def test_directions(protocol: Protocol):
    """Noise makes a copy of two equal sources worse in every metric that compares with them."""
    image = picture(8, (176, 192))
    noise = np.random.default_rng(0).normal(0, 25, image.shape)
    worse = np.clip(image + noise, 0, 255).astype(np.uint8)
    of_fused = {"EN", "SD", "SF", "AG", "EI", "TE", "SCD", "CE"}
    names = [name for name in WITHOUT_PYWAVELETS if name not in of_fused]
    good, bad = (evaluate(x, image, image, names, protocol) for x in (image, worse))
    for name in names:
        if name == "Qy" and protocol == "zoo":
            continue  # its window sums to 7, which leaves nothing of structure
        better = good[name] < bad[name] if name in LOWER_IS_BETTER else good[name] > bad[name]
        assert better, name


@pytest.mark.parametrize("protocol", ["ddfm", "standard", "zoo"])
def test_flat_images_raise_nothing(protocol: Protocol):
    flat = np.full((176, 176), 9, np.uint8)
    for fused, source in ((flat, flat), (flat, picture(1, (176, 176))), (picture(1, (176, 176)), flat)):
        values = evaluate(fused, source, source, WITHOUT_PYWAVELETS, protocol)
        assert not any(math.isnan(value) for value in values.values())


def test_every_metric_tells_its_range_and_paper():
    for metric in ALL_METRICS.values():
        assert metric.range and set(metric.by) == {"ddfm", "standard", "zoo"}
    assert set(ZOO_METRICS) <= set(ALL_METRICS)
    assert {"MSE", "CE", "Nabf", "Q_CV"} == LOWER_IS_BETTER
