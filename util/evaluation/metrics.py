"""The table of metrics: names, directions, ranges and papers; and measuring one fused image with them.

All take 8-bit grey images, (H, W) uint8. Three protocols: ``ddfm`` is what the tables of the DDFM paper and of its
group's other papers were made with, quirks included, so that published rows are comparable; ``standard`` differs
in SSIM and MS_SSIM (data range 255), PSNR (peak 255), Qabf and Q_Y, Q_CB (no quirks); ``zoo`` is the toolbox of the
infrared-visible survey. ``docs/metrics.md`` tells which metric is defined how, and by whom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from util.evaluation.measures import common as base
from util.evaluation.measures import feature_information as fmi
from util.evaluation.measures import local, perceptual, zoo
from util.evaluation.measures.metric_image import Image

Protocol = Literal["ddfm", "standard", "zoo"]
Measure = Callable[[Image, Image, Image], float]
"""F, A, B -> value."""

_PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


@dataclass(frozen=True)
class Metric:
    """A metric of the table. ``by``: its function in every protocol that has it."""

    name: str
    by: Mapping[Protocol, Measure]
    range: str
    paper: str
    lower_is_better: bool = False


def _of_fused(function: Callable[[Image], float]) -> Measure:
    return lambda f, a, b: function(f)


def _all(measure: Measure) -> dict[Protocol, Measure]:
    return dict.fromkeys(_PROTOCOLS, measure)


def _each(ddfm: Measure, standard: Measure, zoo: Measure) -> dict[Protocol, Measure]:
    return {"ddfm": ddfm, "standard": standard, "zoo": zoo}


_QABF = _each(base.qabf, partial(base.qabf, quirks=False), base.qabf)
_SSIM = _each(base.ssim, partial(base.ssim, data_range=255.0), zoo.ssim_gaussian)
_LEAST_SSIM = base.smaller(partial(base.ssim_of, data_range=2.0))
_LEAST_STANDARD_SSIM = base.smaller(partial(base.ssim_of, data_range=255.0))
_FUSED = _of_fused

_TABLE = [
    Metric("EN", _all(_FUSED(base.entropy)), "0 ... 8 bits", "Roberts et al. 2008"),
    Metric("SD", _all(_FUSED(base.standard_deviation)), "0 ... 127.5", "Rao 1997"),
    Metric("SF", _all(_FUSED(base.spatial_frequency)), "0 ... 361", "Eskicioglu and Fisher 1995"),
    Metric("AG", _all(_FUSED(base.average_gradient)), "at least 0", "Cui et al. 2015"),
    Metric(
        "MI",
        _each(base.mutual_information, base.mutual_information, zoo.information_in_bits),
        "at least 0; nats, in zoo bits",
        "Qu et al. 2002",
    ),
    Metric(
        "MSE",
        _each(base.mean_squared_error, base.mean_squared_error, zoo.mse_of_unit_range),
        "0 ... 65025; in zoo 0 ... 1",
        "",
        lower_is_better=True,
    ),
    Metric("CC", _all(base.correlation), "-1 ... 1", ""),
    Metric("PSNR", _each(base.psnr, partial(base.psnr, peak=255.0), zoo.psnr_of_unit_range), "dB", ""),
    Metric("SCD", _all(base.scd), "-2 ... 2", "Aslantas and Bendes 2015"),
    Metric("VIF", _each(base.vif, base.vif, zoo.vif_zero_padded), "at least 0", "Sheikh and Bovik 2006"),
    Metric("Qabf", _QABF, "0 ... 1", "Xydeas and Petrovic 2000"),
    Metric("SSIM", _SSIM, "-2 ... 2", "Wang et al. 2004"),
    Metric(
        "MI_min",
        _all(base.smaller(base.information)),
        "at least 0; nats",
        "MI with the source it has less of",
    ),
    Metric("VIF_min", _all(base.smaller(base.vif_of)), "at least 0", "VIF of the source it has less of"),
    Metric(
        "CC_min", _all(base.smaller(base.correlation_with)), "-1 ... 1", "CC with the source it is less like"
    ),
    Metric(
        "SSIM_min",
        _each(_LEAST_SSIM, _LEAST_STANDARD_SSIM, _LEAST_SSIM),
        "-1 ... 1",
        "SSIM with the source it is less like",
    ),
    Metric("FMI_pixel", _all(fmi.feature_mutual_information), "0 ... 1", "Haghighat et al. 2011, 2014"),
    Metric(
        "FMI_gradient",
        _all(partial(fmi.feature_mutual_information, feature="gradient")),
        "0 ... 1",
        "Haghighat et al. 2011, 2014",
    ),
    Metric(
        "FMI_dct",
        _all(partial(fmi.feature_mutual_information, feature="dct")),
        "0 ... 1",
        "Haghighat et al. 2011, 2014",
    ),
    Metric(
        "FMI_wavelet",
        _all(partial(fmi.feature_mutual_information, feature="wavelet")),
        "0 ... 1",
        "Haghighat et al. 2011, 2014",
    ),
    Metric("Q_MI", _all(base.information_quality), "0 ... 2", "Hossny et al. 2008"),
    Metric("Q_W", _all(local.weighted_quality), "-1 ... 1", "Piella and Heijmans 2003"),
    Metric("Q_E", _all(local.edge_quality), "-1 ... 1", "Piella and Heijmans 2003"),
    Metric(
        "Q_CV", _all(perceptual.chen_varshney), "0 ... 65025", "Chen and Varshney 2007", lower_is_better=True
    ),
    Metric("MEF_SSIM", _all(local.mef_ssim), "0 ... 1", "Ma et al. 2015; for exposures"),
    Metric("CE", _all(zoo.cross_entropy), "at least 0", "IVIF_ZOO", lower_is_better=True),
    Metric("NMI", _all(zoo.normalized_information), "0 ... 2", "IVIF_ZOO"),
    Metric("QNCIE", _all(zoo.nonlinear_correlation_entropy), "0.80 ... 1", "after Wang et al. 2005"),
    Metric("TE", _all(zoo.tsallis), "bits", "IVIF_ZOO, after Tsallis 1988"),
    Metric("EI", _all(_FUSED(zoo.edge_intensity)), "at least 0", "Rajalingam and Priya 2018"),
    Metric(
        "Qy",
        _each(perceptual.yang, perceptual.yang, partial(perceptual.yang, quirks=True)),
        "-1 ... 1",
        "Yang et al. 2008",
    ),
    Metric(
        "Qcb",
        _each(perceptual.chen_blum, perceptual.chen_blum, partial(perceptual.chen_blum, quirks=True)),
        "0 ... 1",
        "Chen and Blum 2009",
    ),
    Metric("Nabf", _all(perceptual.artefacts), "0 ... 1", "Shreyamsha Kumar 2013", lower_is_better=True),
    Metric(
        "MS_SSIM",
        _each(
            partial(zoo.ms_ssim, data_range=255.0),
            partial(zoo.ms_ssim, data_range=255.0),
            zoo.ms_ssim,
        ),
        "0 ... 2",
        "Wang et al. 2003",
    ),
]
ALL_METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every metric by name."""

PAPER_METRICS = ["EN", "SD", "MI", "VIF", "Qabf", "SSIM"]
"""Those of the tables of the paper, in its order."""

METRICS = ("EN", "SD", "SF", "AG", "MI", "MSE", "CC", "PSNR", "SCD", "VIF", "Qabf", "SSIM")
"""Those that are measured where no others are asked for."""

ZOO_METRICS = (
    "CE", "NMI", "QNCIE", "TE", "EI", "Qy", "Qcb", "EN", "MI", "SF", "AG", "SD", "CC", "SCD", "VIF", "MSE", "PSNR",
    "Qabf", "Nabf", "SSIM", "MS_SSIM",
)  # fmt: skip
"""Those of the survey's toolbox, in its order."""

OPTIONAL_METRICS = ("FMI_wavelet",)
"""Those that need a package which is not installed with this project."""

NO_REFERENCE = ("BRISQUE", "NIQE", "MUSIQ")
"""Those that look at F alone and are not here: the package that has them, pyiqa, downloads weights for each."""

LOWER_IS_BETTER = frozenset(metric.name for metric in _TABLE if metric.lower_is_better)


def check_metrics(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is no metric."""
    unknown = [name for name in names if name not in ALL_METRICS]
    if unknown:
        raise ValueError(
            instead_of(unknown[0]) or f"unknown metric {unknown[0]}; there are {', '.join(ALL_METRICS)}"
        )


def instead_of(name: str) -> str | None:
    """What to do for one of :data:`NO_REFERENCE`, None for any other name."""
    if name.upper() not in NO_REFERENCE:
        return None
    return (
        f"{name.upper()} is not measured here, for its weights would have to be downloaded: install pyiqa, and "
        f"measure the fused images with 'pyiqa {name.lower()} -t DIR'"
    )


def check_protocol(protocol: str) -> None:
    """Raise ValueError for a name that is no protocol."""
    if protocol not in _PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; there are {', '.join(_PROTOCOLS)}")


def check_size(shape: Sequence[int]) -> None:
    """Raise ValueError for an image that is too small for the windows of VIF."""
    if min(shape) < 41:
        raise ValueError(f"metrics need at least 41 pixels a side, got {tuple(shape)}")


def evaluate(
    fused: NDArray[np.uint8],
    ir: NDArray[np.uint8],
    vi: NDArray[np.uint8],
    metrics: Sequence[str] = METRICS,
    protocol: Protocol = "ddfm",
) -> dict[str, float]:
    """The named metrics of one fused image; all (H, W) uint8 of one size, at least 41 pixels a side.

    Raises ValueError for another type, sizes that differ or are too small for VIF, an unknown metric or protocol.
    """
    if any(image.ndim != 2 or image.dtype != np.uint8 for image in (fused, ir, vi)):
        raise ValueError("metrics take (H, W) uint8 images")
    if not fused.shape == ir.shape == vi.shape:
        raise ValueError(f"the images differ in size: {fused.shape}, {ir.shape}, {vi.shape}")
    check_size(fused.shape)
    return evaluate_images(Image(fused), Image(ir), Image(vi), metrics, protocol)


def evaluate_images(
    f: Image, a: Image, b: Image, metrics: Sequence[str] = METRICS, protocol: Protocol = "ddfm"
) -> dict[str, float]:
    """As :func:`evaluate`, of images that have been checked; sources can be shared by several fused images."""
    check_metrics(metrics)
    check_protocol(protocol)
    return {name: ALL_METRICS[name].by[protocol](f, a, b) for name in metrics}


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether ``value`` is the better one of the two; NaN is never better."""
    if math.isnan(value):
        return False
    return math.isnan(other) or (value < other if metric in LOWER_IS_BETTER else value > other)
