"""An axial slice of a head: one map of tissues, seen by MRI, CT and PET."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .raster import Array, Index, Mask, Pair, band, blur, fractal, lookup, shrink, smoothstep, to_bytes

SIZE, FACTOR = 256, 2
N = SIZE * FACTOR
Y, X = (plane.astype(np.float32) for plane in np.mgrid[1 : -1 : N * 1j, -1 : 1 : N * 1j])
"""Positions, y towards the forehead; the head spans about +-0.7 by +-0.86."""

TISSUES = (
    "air",
    "scalp",
    "table",
    "diploe",
    "dura",
    "csf",
    "grey",
    "white",
    "nuclei",
    "oedema",
    "tumour",
    "calcium",
)
# How bright each tissue is: T2-weighted and T1-weighted MRI, CT, and the uptake in PET.
T2 = (0.02, 0.46, 0.05, 0.24, 0.14, 0.95, 0.59, 0.36, 0.48, 0.76, 0.64, 0.10)
T1 = (0.02, 0.86, 0.05, 0.40, 0.30, 0.12, 0.46, 0.72, 0.54, 0.50, 0.42, 0.30)
CT = (0.00, 0.13, 0.98, 0.80, 0.36, 0.10, 0.27, 0.22, 0.28, 0.15, 0.33, 0.92)
PET = (0.00, 0.05, 0.03, 0.03, 0.05, 0.03, 0.92, 0.24, 0.98, 0.30, 0.60, 0.10)

Fill = Callable[[Array | Mask, str], None]
"""Gives the samples of a mask to a tissue."""

RAINBOW = [
    (0.00, (0.00, 0.00, 0.00)),
    (0.14, (0.06, 0.00, 0.34)),
    (0.32, (0.00, 0.16, 0.92)),
    (0.48, (0.00, 0.66, 0.72)),
    (0.62, (0.10, 0.82, 0.16)),
    (0.78, (0.98, 0.90, 0.05)),
    (0.90, (1.00, 0.42, 0.00)),
    (1.00, (0.90, 0.04, 0.04)),
]


def _stroke(points: list[tuple[float, float, float]], x: Array, y: Array) -> Array:
    """Distance in radii, minus one, to a chain of tapering capsules through (x, y, radius): below 0 is inside."""
    best = np.full(x.shape, np.inf, np.float32)
    for (x0, y0, r0), (x1, y1, r1) in itertools.pairwise(points):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        best = np.minimum(best, np.hypot(x - x0 - t * dx, y - y0 - t * dy) / (r0 + t * (r1 - r0)) - 1)
    return best


def _smooth(rng: np.random.Generator, scale: float) -> Array:
    """(N, N) gentle noise for bending outlines."""
    return fractal(rng, (N, N), scale, beta=4.5)


def _depth(inside: Mask) -> Array:
    return np.asarray(ndimage.distance_transform_edt(inside), np.float32)


def _sulci(rng: np.random.Generator, brain: Mask, depth: Array, x: Array, y: Array) -> Mask:
    """Furrows: mostly radial lines of narrow-band noise that thin out with depth, the two halves much alike."""
    angle = np.arctan2(np.abs(x), y) + 0.07 * _smooth(rng, 70) + 0.02 * _smooth(rng, 30)
    pattern = band(rng, (N, N), 27, 0.28)
    own = band(rng, (N, N), 44, 0.28)
    fold = lookup(pattern, angle / np.pi * 400, 0.34 * depth, N) + 0.45 * own
    reach = (64 + 20 * _smooth(rng, 80)) * (1 - 0.25 * np.exp(-((np.abs(x) / 0.2) ** 2)))
    width = 0.30 * np.clip(1 - depth / reach, 0, 1) ** 0.6
    furrow = brain & (np.abs(fold) < width)
    wander = 0.008 * np.sin(9 * y) + 0.004 * np.sin(23 * y + 1)
    gap = 0.016 * smoothstep(0.28, 0.5, y) + 0.014 * smoothstep(-0.32, -0.5, y) + 0.001
    furrow |= brain & (np.abs(x - wander) < gap) & ((y > 0.26) | (y < -0.30))
    sylvian = [(0.62, 0.16, 0.022), (0.52, 0.10, 0.016), (0.43, 0.10, 0.014)]
    insula = [(0.42, 0.20, 0.008), (0.40, 0.09, 0.013), (0.415, -0.06, 0.008)]
    return furrow | (brain & ((_stroke(sylvian, np.abs(x), y) < 0) | (_stroke(insula, np.abs(x), y) < 0)))


def _anatomy(rng: np.random.Generator, sick: bool) -> Index:
    """(N, N) index into TISSUES; ``sick`` adds a tumour with calcium and oedema."""
    x = X + 0.007 * _smooth(rng, 110)
    y = Y + 0.007 * _smooth(rng, 110)
    angle = np.arctan2(y, x)
    rim = (
        1
        / np.hypot(np.cos(angle) / 0.70, np.sin(angle) / 0.87)
        * (1 - 0.010 * np.cos(4 * angle) - 0.012 * np.sin(angle))
    )
    head = np.hypot(x, y) < rim
    depth = _depth(head) + 0.9 * _smooth(rng, 45)
    fore_aft = np.abs(np.sin(angle)) ** 3
    bone, inner = 11 + 3 * fore_aft, 22 + 8 * fore_aft
    tissue = np.zeros((N, N), np.intp)

    def fill(where: Array | Mask, name: str) -> None:
        tissue[np.asarray(where, bool)] = TISSUES.index(name)

    fill(head, "scalp")
    fill(head & (depth > bone), "table")
    fill(head & (depth > bone + 3.5) & (depth < inner - 3.5) & (fractal(rng, (N, N), 18) > -1.2), "diploe")
    fill(head & (depth > inner), "dura")
    fill(head & (depth > inner + 2), "csf")
    brain = head & (depth > inner + 5 + 1.5 * _smooth(rng, 40))
    furrow = _sulci(rng, brain, depth - inner, x, y)
    cortex = _depth(brain & ~furrow) + 0.8 * _smooth(rng, 22)
    fill(brain, "grey")
    fill(brain & (cortex > 7.2), "white")
    fill(brain & furrow, "csf")
    _deep(fill, rng, x, y)
    fill(brain & (np.abs(x - 0.008 * np.sin(9 * y)) < 0.0045) & ((y > 0.33) | (y < -0.42)), "dura")
    if sick:
        _tumour(fill, rng, tissue, x, y)
    return tissue


def _deep(fill: Fill, rng: np.random.Generator, x: Array, y: Array) -> None:
    """Basal ganglia, thalami, capsules, ventricles and the specks of calcium that old age brings."""
    side = np.abs(x) + 0.006 * _smooth(rng, 60)
    fill(_stroke([(0.06, -0.02, 0.13), (0.30, 0.06, 0.10), (0.20, 0.14, 0.1)], side, y) < 0, "white")
    fill(_stroke([(0.13, 0.265, 0.045), (0.150, 0.15, 0.026)], side, y) < 0, "nuclei")
    fill(_stroke([(0.265, 0.17, 0.030), (0.300, 0.06, 0.046), (0.265, -0.06, 0.018)], side, y) < 0, "nuclei")
    fill(_stroke([(0.365, 0.14, 0.007), (0.360, -0.02, 0.007)], side, y) < 0, "grey")
    fill(_stroke([(0.075, 0.02, 0.035), (0.105, -0.08, 0.068), (0.120, -0.13, 0.05)], side, y) < 0, "nuclei")
    fill(_stroke([(0.035, 0.10, 0.020), (0.065, 0.20, 0.036), (0.115, 0.315, 0.022)], side, y) < 0, "csf")
    fill(_stroke([(0.150, -0.19, 0.020), (0.205, -0.29, 0.040), (0.190, -0.42, 0.016)], side, y) < 0, "csf")
    fill(_stroke([(0.0, 0.05, 0.009), (0.0, -0.12, 0.013)], side, y) < 0, "csf")
    fill(_stroke([(0.0, -0.205, 0.022), (0.05, -0.22, 0.012)], side, y) < 0, "csf")
    fill(np.hypot((side - 0.208) / 0.014, (y + 0.285) / 0.026) < 1, "calcium")
    fill(np.hypot(x / 0.014, (y + 0.165) / 0.012) < 1, "calcium")


def _tumour(fill: Fill, rng: np.random.Generator, tissue: Index, x: Array, y: Array) -> None:
    """A mass in the frontal white matter: oedema creeps along the white matter only."""
    ragged = fractal(rng, (N, N), 40, beta=3.0)
    away = np.hypot(x - 0.27, (y - 0.36) * 0.9)
    white = tissue == TISSUES.index("white")
    fill(white & (away + 0.030 * ragged < 0.20), "oedema")
    mass = away + 0.014 * ragged
    fill(mass < 0.105, "tumour")
    fill(mass < 0.045, "csf")
    specks = (fractal(rng, (N, N), 12, beta=3.0) > 1.1) & (mass > 0.05) & (mass < 0.10)
    fill(specks, "calcium")


def _seen(tissue: Index, table: tuple[float, ...]) -> Array:
    """(SIZE, SIZE) mean brightness of the tissues in every pixel."""
    return shrink(np.asarray(table, np.float32)[tissue], FACTOR)


def _mri(tissue: Index, table: tuple[float, ...], rng: np.random.Generator) -> Array:
    """Texture within tissues, a bright side near the coil, and Rician noise."""
    plain = blur(_seen(tissue, table), 0.55)
    grain = 1 + 0.035 * fractal(rng, (SIZE, SIZE), 9, beta=1.2) + 0.05 * fractal(rng, (SIZE, SIZE), 120)
    real, imaginary = (0.014 * rng.standard_normal((SIZE, SIZE)) for _ in range(2))
    return np.hypot(0.92 * plain * grain + real, imaginary).astype(np.float32)


def mri_ct(seed: int) -> Pair:
    """256 x 256: ``vi`` is a T2-weighted MRI, ``ir`` a CT (bone and calcium bright, soft tissue faint)."""
    rng = np.random.default_rng(seed)
    tissue = _anatomy(rng, sick=True)
    ct = blur(_seen(tissue, CT), 0.6) * (1 + 0.02 * fractal(rng, (SIZE, SIZE), 40))
    streaks = 0.010 * fractal(rng, (SIZE, SIZE), 5, beta=1.0) * (ct > 0.05)
    marks = {
        name: shrink((tissue == TISSUES.index(name)).astype(np.float32), FACTOR) for name in ("table", "csf")
    }
    return Pair(to_bytes(_mri(tissue, T2, rng), rng, 0.0), to_bytes(ct + streaks, rng, 0.003), marks)


def mri_pet(seed: int) -> Pair:
    """256 x 256: ``vi`` is a T1-weighted MRI, ``ir`` a PET in the colours of an atlas: cortex, nuclei, a hot spot."""
    rng = np.random.default_rng(seed + 7)
    tissue = _anatomy(rng, sick=False)
    spot = np.exp(-((np.hypot(X - 0.36, Y + 0.30) / 0.085) ** 2))
    dull = 1 - 0.45 * np.exp(-((np.hypot(X + 0.42, Y + 0.20) / 0.2) ** 2))
    uptake = _seen(tissue, PET) * shrink(dull, FACTOR) * (1 + 0.10 * fractal(rng, (SIZE, SIZE), 60))
    activity = blur(uptake, 3.0) + 0.55 * shrink(spot, FACTOR)
    activity *= 1 + 0.035 * blur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), 1.4) / 0.2
    level = np.clip(1.02 * activity - 0.02, 0, 1)
    stops = [stop for stop, _ in RAINBOW]
    colours = [np.interp(level, stops, [colour[channel] for _, colour in RAINBOW]) for channel in range(3)]
    marks = {"hot spot": shrink((spot > 0.5).astype(np.float32), FACTOR)}
    vi = to_bytes(_mri(tissue, T1, rng), rng, 0.0)
    return Pair(vi, to_bytes(np.stack(colours, -1).astype(np.float32), rng, 0.0), marks)
