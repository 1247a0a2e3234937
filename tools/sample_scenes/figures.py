"""People and trees that can stand in any scene: shape, colour and temperature in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .raster import Array, blur, fractal, mix, smoothstep, sprite
from .stage import Stage

Colour = tuple[float, float, float]
Limb = tuple[float, float, float, float, float, float, str]

# Capsules (u0, v0, radius0, u1, v1, radius1, cloth) of a body one unit tall, u = 0 at its middle.
_HEAD: list[Limb] = [
    (0.0, 0.905, 0.047, 0.0, 0.945, 0.053, "skin"),
    (0.0, 0.955, 0.048, -0.008, 0.962, 0.046, "hair"),
    (0.0, 0.84, 0.03, 0.0, 0.89, 0.028, "skin"),
]
_STAND: list[Limb] = [
    (-0.075, 0.785, 0.042, 0.075, 0.785, 0.042, "coat"),
    (0.0, 0.77, 0.085, 0.0, 0.56, 0.078, "coat"),
    (-0.04, 0.53, 0.06, 0.04, 0.53, 0.06, "coat"),
    (-0.105, 0.78, 0.037, -0.14, 0.64, 0.031, "coat"),
    (-0.14, 0.64, 0.031, -0.13, 0.50, 0.024, "coat"),
    (-0.13, 0.49, 0.022, -0.127, 0.465, 0.02, "skin"),
    (0.105, 0.78, 0.037, 0.14, 0.64, 0.031, "coat"),
    (0.14, 0.64, 0.031, 0.125, 0.51, 0.024, "coat"),
    (0.125, 0.50, 0.022, 0.12, 0.47, 0.02, "skin"),
    (-0.05, 0.5, 0.056, -0.055, 0.28, 0.042, "legs"),
    (-0.055, 0.28, 0.042, -0.06, 0.05, 0.028, "legs"),
    (0.05, 0.5, 0.056, 0.058, 0.28, 0.042, "legs"),
    (0.058, 0.28, 0.042, 0.07, 0.05, 0.028, "legs"),
    (-0.06, 0.03, 0.028, -0.075, 0.022, 0.022, "shoe"),
    (0.07, 0.03, 0.028, 0.085, 0.022, 0.022, "shoe"),
]
_WALK: list[Limb] = [
    (0.005, 0.775, 0.072, 0.0, 0.57, 0.07, "coat"),
    (0.0, 0.55, 0.068, 0.0, 0.51, 0.066, "coat"),
    (0.0, 0.77, 0.038, -0.075, 0.65, 0.031, "coat"),
    (-0.075, 0.65, 0.031, -0.1, 0.53, 0.024, "coat"),
    (-0.1, 0.52, 0.022, -0.103, 0.495, 0.02, "skin"),
    (0.01, 0.77, 0.036, 0.07, 0.65, 0.03, "coat"),
    (0.07, 0.65, 0.03, 0.14, 0.56, 0.024, "coat"),
    (0.15, 0.555, 0.022, 0.165, 0.55, 0.02, "skin"),
    (0.0, 0.51, 0.062, 0.075, 0.29, 0.045, "legs"),
    (0.075, 0.29, 0.045, 0.105, 0.06, 0.028, "legs"),
    (0.0, 0.51, 0.06, -0.035, 0.28, 0.043, "legs"),
    (-0.035, 0.28, 0.043, -0.145, 0.09, 0.028, "legs"),
    (0.105, 0.035, 0.026, 0.155, 0.025, 0.02, "shoe"),
    (-0.15, 0.07, 0.026, -0.12, 0.028, 0.02, "shoe"),
]
POSES: dict[str, list[Limb]] = {"stand": _STAND + _HEAD, "walk": _WALK + _HEAD}
_WARMTH = {"skin": 1.0, "hair": 0.9, "coat": 0.76, "legs": 0.7, "shoe": 0.42}


@dataclass(frozen=True)
class Person:
    """Someone ``tall`` metres at (x, z); ``warm`` is the display value of bare skin; ``turn`` -1 faces left."""

    x: float
    z: float
    pose: Literal["stand", "walk"] = "stand"
    coat: Colour = (0.02, 0.022, 0.028)
    legs: Colour = (0.015, 0.015, 0.02)
    tall: float = 1.75
    ground: float = 0.0
    turn: int = 1
    warm: float = 0.97


def draw_person(stage: Stage, who: Person, label: int = 0) -> None:
    """Rounded limbs, cooler at their edges and where clothes are thick."""
    half = 0.24 * who.tall
    patch = stage.patch((who.x - half, who.ground, who.z), (2 * half, 0, 0), (0, who.tall * 1.02, 0))
    u, v = who.turn * (patch.u - half) / who.tall, patch.v / who.tall
    nearest = np.full(u.shape, np.inf, np.float32)
    bulge = np.zeros((u.size, 2), np.float32)
    cloth = np.zeros(u.shape, np.intp)
    names = list(_WARMTH)
    for u0, v0, r0, u1, v1, r1, name in POSES[who.pose]:
        du, dv = u1 - u0, v1 - v0
        t = np.clip(((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv), 0, 1)
        off = np.stack([u - u0 - t * du, v - v0 - t * dv], -1)
        radius = r0 + t * (r1 - r0)
        distance = np.hypot(off[:, 0], off[:, 1]) / radius - 1
        closer = distance < nearest
        nearest[closer], cloth[closer] = distance[closer], names.index(name)
        bulge[closer] = (off / radius[:, None])[closer]
    inside = nearest < 0
    part, off = cloth[inside], bulge[inside]
    depth = np.sqrt(np.clip(1 - (off**2).sum(-1), 0.05, 1))
    colours = np.array([(0.30, 0.18, 0.13), (0.02, 0.015, 0.01), who.coat, who.legs, (0.02, 0.02, 0.02)])
    heat = who.warm * np.array(list(_WARMTH.values()))[part] * (0.82 + 0.18 * depth)
    normal = np.stack([who.turn * off[:, 0], off[:, 1], -depth], -1)
    stage.put(patch.where(inside), colours[part], heat, normal=normal, label=label)


@dataclass(frozen=True)
class Leaves:
    """A crown as square textures: ``cover`` above 0 is leaf, slopes (``nx``, ``ny``) and ``tone`` about 0."""

    cover: Array
    nx: Array
    ny: Array
    tone: Array


def crown(
    rng: np.random.Generator, kind: Literal["round", "conifer", "bush"] = "round", n: int = 256
) -> Leaves:
    """A ragged crown of overlapping clumps."""
    y, x = np.mgrid[n:0:-1, 0:n].astype(np.float32) / n
    field = np.full((n, n), -1.0, np.float32)
    if kind == "conifer":
        tier = (9 * y + 2.2 * np.abs(x - 0.5)) % 1
        edge = 0.47 * (1 - y) ** 0.9 * (1 - 0.42 * tier)
        field = 1.2 * (1 - (np.abs(x - 0.5) / (edge + 0.01)) ** 1.5)
    else:
        low, count = (0.34, 26) if kind == "round" else (0.2, 16)
        for _ in range(count):
            angle, reach = rng.uniform(0, 2 * np.pi), 0.30 * np.sqrt(rng.uniform())
            middle = (0.5 + 1.05 * reach * np.cos(angle), low + 0.18 + 0.9 * reach * np.sin(angle))
            size = rng.uniform(0.10, 0.19)
            field = np.maximum(field, 1 - ((x - middle[0]) ** 2 + 1.3 * (y - middle[1]) ** 2) / size**2)
    clumps = fractal(rng, (n, n), n / 9, beta=1.7)
    field = field + 0.30 * clumps - 0.08
    rim = smoothstep(0, 0.04, np.minimum(np.minimum(x, 1 - x), np.minimum(1 - y, y + 0.04)))
    relief = blur(np.clip(field, -0.5, 1.5), n / 90)
    ny, nx = (np.asarray(slope) for slope in np.gradient(relief * n / 9))
    tone = fractal(rng, (n, n), n / 28, beta=1.2)
    return Leaves(field - 2 * (1 - rim), -nx, ny, tone)


def draw_leaves(
    stage: Stage,
    leaves: Leaves,
    place: tuple[float, float, float],
    size: tuple[float, float],
    colour: Colour,
    heat: float,
) -> None:
    """``leaves`` as ``size`` (width, height) metres with its bottom middle at ``place``."""
    x, y, z = place
    patch = stage.patch((x - size[0] / 2, y, z), (size[0], 0, 0), (0, size[1], 0))
    u, v = patch.u / size[0], patch.v / size[1]
    seen = sprite(leaves.cover, u, v) > 0
    u, v = u[seen], v[seen]
    nx, ny, tone = (sprite(texture, u, v) for texture in (leaves.nx, leaves.ny, leaves.tone))
    normal = np.stack([nx, ny + 0.25, -np.full_like(nx, 0.8)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    shade = np.clip(1 + 0.38 * tone, 0.15, 2.2)[:, None]
    yellow = mix(np.asarray(colour), np.asarray(colour) * np.array([1.35, 1.12, 0.7]), smoothstep(0, 2, tone))
    warm = heat * (1 + 0.10 * ny + 0.05 * tone)
    stage.put(patch.where(seen), yellow * shade, warm, normal=normal)


def draw_trunk(
    stage: Stage, x: float, z: float, width: float, height: float, heat: float, lean: float = 0.0
) -> None:
    """A tapering trunk, rounded by its normals."""
    patch = stage.patch((x - width, 0, z), (2 * width, 0, 0), (0, height, 0))
    t = patch.v / height
    half = 0.5 * width * (1 - 0.45 * t) * (1 + 0.7 * np.exp(-patch.v / (0.5 * width)))
    off = (patch.u - width - lean * t * t) / half
    off = off + 0.07 * np.sin(2.7 * patch.v / width + 2 * off)
    seen = np.abs(off) < 1
    off = off[seen]
    normal = np.stack([off, np.zeros_like(off), -np.sqrt(1 - off**2)], -1)
    bark = (0.09 + 0.025 * np.sin(14 * off + 2 * patch.v[seen]))[:, None] * np.array([1, 0.8, 0.62])
    stage.put(patch.where(seen), bark, heat * (1.05 - 0.1 * off**2), normal=normal)
