"""A hatchback from panels in space: its flank, its ends and what is warm about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .figures import Colour
from .raster import Array, Mask, mix, outline, smoothstep, sprite
from .stage import Stage

# Outlines in metres, the profile with its nose at u = 0; tuples, so that their textures can be kept.
_PROFILE = (
    *((0.08, 0.24), (0.02, 0.5), (0.1, 0.68), (0.55, 0.8), (1.12, 0.9), (1.7, 1.33), (2.05, 1.44)),
    *((2.85, 1.44), (3.45, 1.34), (3.98, 0.99), (4.2, 0.93), (4.28, 0.6), (4.24, 0.24)),
)
_WINDOWS = (
    ((1.32, 0.91), (1.80, 1.29), (2.1, 1.36), (2.42, 1.36), (2.42, 0.91)),
    ((2.52, 0.91), (2.52, 1.36), (2.88, 1.36), (3.32, 1.27), (3.70, 0.95)),
)
_HALF = ((0.06, 0.2), (0.0, 0.5), (0.04, 0.84), (0.13, 0.95), (0.29, 1.36), (0.46, 1.45))
_REAR = (*_HALF, *((1.78 - u, v) for u, v in reversed(_HALF)))
_REAR_WINDOW = ((0.29, 0.95), (0.42, 1.32), (1.36, 1.32), (1.49, 0.95))
CAR_LENGTH, CAR_WIDTH, CAR_HEIGHT = 4.3, 1.78, 1.5
_BELT = 0.93
Lights = Literal["off", "front", "rear"]


@dataclass(frozen=True)
class CarFinish:
    """``paint`` colour, and display values of ``body``, ``engine`` and ``tyre`` temperature; ``glass`` tint."""

    paint: Colour
    body: float = 0.3
    engine: float = 0.85
    tyre: float = 0.6
    glass: Colour = (0.03, 0.035, 0.04)
    glass_heat: float = 0.22


def _side_look(u: Array, v: Array, finish: CarFinish) -> tuple[Array, Array, Mask]:
    """Albedo (n, 3), heat (n,) and what is car at all, for points (u from the nose, v up) of the profile."""
    size = (CAR_LENGTH, CAR_HEIGHT)
    at = (u / size[0], v / size[1])
    wheel = np.min([np.hypot(u - middle, v - 0.32) for middle in (0.84, 3.42)], axis=0)
    body = (sprite(outline(_PROFILE, *size, 0.05), *at) > 0.5) & (wheel > 0.38)
    glass = np.max([sprite(outline(points, *size, 0.02), *at) for points in _WINDOWS], axis=0) > 0.5
    seams = (np.abs(u - 2.47) < 0.012) | (np.abs(u - 1.42) < 0.012) & (v < 0.9)
    sheen = 0.5 + 0.75 * smoothstep(0.45, 0.95, v) - 0.35 * np.exp(-(((v - 0.66) / 0.035) ** 2))
    albedo = (sheen * np.where(seams, 0.3, 1.0))[:, None] * np.asarray(finish.paint)
    albedo[glass] = np.asarray(finish.glass) * (1 + 2.5 * smoothstep(1.0, 1.4, v[glass]))[:, None]
    heat = finish.body + (finish.engine - finish.body) * np.exp(-(((u - 0.55) / 0.55) ** 2))
    heat = heat - 0.05 * smoothstep(0.5, 1.2, v)
    heat[glass] = finish.glass_heat
    lamp = (u > 0.06) & (u < 0.35) & (np.abs(v - 0.66) < 0.07)
    albedo[lamp] = 0.7
    albedo[(u > 4.1) & (np.abs(v - 0.8) < 0.1)] = (0.4, 0.02, 0.02)
    arch, rubber, rim = (wheel < 0.4) & (v < 0.72), wheel < 0.32, wheel < 0.2
    albedo[arch], heat[arch] = 0.006, finish.tyre * 0.7
    albedo[rubber], heat[rubber] = 0.018, finish.tyre
    spokes = np.sin(10 * np.arctan2(v[rim] - 0.32, u[rim] % 2.58 - 0.84))
    albedo[rim], heat[rim] = (0.28 * (0.75 + 0.25 * spokes))[:, None], finish.tyre + 0.12
    return albedo, heat, body | arch


def _end_look(u: Array, v: Array, finish: CarFinish, lights: Lights) -> tuple[Array, Array, Array, Mask]:
    """Albedo (n, 3), heat (n,), emission (n, 3) and what is car, for points (u across, v up) of either end."""
    side = np.minimum(u, CAR_WIDTH - u)
    at = (u / CAR_WIDTH, v / CAR_HEIGHT)
    body = sprite(outline(_REAR, CAR_WIDTH, CAR_HEIGHT, 0.03), *at) > 0.5
    glass = sprite(outline(_REAR_WINDOW, CAR_WIDTH, CAR_HEIGHT, 0.03), *at) > 0.5
    wheel = (side > 0.08) & (side < 0.3) & (v < 0.34)
    sheen = 0.45 + 0.8 * smoothstep(0.5, 0.92, v) - 0.3 * np.exp(-(((v - 0.6) / 0.03) ** 2))
    albedo = sheen[:, None] * np.asarray(finish.paint)
    albedo[glass] = finish.glass
    albedo[wheel | (v < 0.24)] = 0.01
    front = lights == "front"
    spot = ((side - 0.89) / 0.75, (v - 0.55) / 0.25) if front else ((side - 0.4) / 0.22, (v - 0.26) / 0.12)
    heat = finish.body + (finish.engine - finish.body) * np.exp(-(spot[0] ** 2) - spot[1] ** 2)
    heat[glass], heat[wheel] = finish.glass_heat, finish.tyre
    albedo[(side > 0.64) & (v > 0.46) & (v < 0.58)] = 0.5
    lamp = smoothstep(1.15, 0.75, np.hypot((side - 0.27) / 0.15, (v - 0.7) / 0.085))
    albedo = mix(albedo, [0.5, 0.5, 0.5] if front else [0.25, 0.02, 0.02], lamp)
    power = {"off": (0.0, 0.0, 0.0), "front": (14.0, 13.0, 11.0), "rear": (3.6, 0.16, 0.10)}[lights]
    return albedo, heat, lamp[:, None] * np.asarray(power), body | wheel


def draw_car_side(stage: Stage, origin: Any, edge: Any, inward: Any, finish: CarFinish) -> None:
    """A hatchback's flank: ``origin`` is the ground under its nose, the unit vector ``edge`` runs backwards.

    The cabin leans along the unit vector ``inward``, away from the beholder.
    """
    edge, inward = CAR_LENGTH * np.asarray(edge, float), np.asarray(inward, float)
    for bottom, top, lean in ((0.0, _BELT, 0.0), (_BELT, CAR_HEIGHT, 0.3)):
        rise = np.array([0, top - bottom, 0]) + lean * inward
        patch = stage.patch(np.add(origin, (0, bottom, 0)), edge, rise)
        v = bottom + patch.v * (top - bottom) / np.linalg.norm(rise)
        albedo, heat, seen = _side_look(patch.u, v, finish)
        normal = patch.normal + np.stack([0 * v, 0.9 * smoothstep(0.6, 1.2, v) - 0.1, 0 * v], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        stage.put(patch.where(seen), albedo[seen], heat[seen], normal=normal[seen])


def draw_car_end(stage: Stage, x: float, z: float, finish: CarFinish, lights: Lights = "off") -> None:
    """A car seen from behind (or ahead, with ``lights`` "front"): its left lower corner at (x, 0, z)."""
    bonnet = 1.05 if lights == "front" else 0.0
    panels = [(0.0, _BELT, 0.0, 0.0), (_BELT, CAR_HEIGHT, bonnet, 0.7)]
    for bottom, top, back, lean in panels:
        rise = (0, top - bottom, lean)
        patch = stage.patch((x, bottom, z + back), (CAR_WIDTH, 0, 0), rise)
        v = bottom + patch.v * (top - bottom) / np.linalg.norm(rise)
        albedo, heat, emission, seen = _end_look(patch.u, v, finish, lights)
        stage.put(patch.where(seen), albedo[seen], heat[seen], emission[seen])
    for y, back, length, inset in ((1.44, bonnet + 0.7, 1.7, 0.32), (_BELT, 0.02, bonnet, 0.05)):
        if length:
            top_side = stage.patch((x + inset, y, z + back), (CAR_WIDTH - 2 * inset, 0, 0), (0, 0, length))
            warm = finish.engine if back < 0.1 else finish.body
            stage.put(top_side, np.asarray(finish.paint) * 1.2, 0.6 * finish.body + 0.4 * warm - 0.04)
