"""The row houses along the street at night."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .raster import Array, lookup, mix, smoothstep
from .stage import Patch, Stage

WALL = 7.0
"""Metres from the middle of the street to the facades."""


@dataclass(frozen=True)
class House:
    """A row house on one side (-1 left, 1 right) from ``z0`` to ``z1``; ``shop`` lights the ground floor."""

    side: int
    z0: float
    z1: float
    tall: float
    colour: tuple[float, float, float]
    heat: float
    shop: bool = False


HOUSES = [
    House(-1, 2.5, 8.6, 15.0, (0.30, 0.24, 0.20), 0.30),
    House(-1, 8.6, 15.0, 11.5, (0.34, 0.20, 0.15), 0.34, shop=True),
    House(-1, 15.0, 23.0, 14.0, (0.32, 0.30, 0.26), 0.29),
    House(-1, 23.0, 34.0, 10.5, (0.36, 0.27, 0.19), 0.33),
    House(-1, 34.0, 52.0, 13.5, (0.28, 0.25, 0.24), 0.30),
    House(-1, 52.0, 85.0, 11.0, (0.30, 0.28, 0.25), 0.31),
    House(1, 2.5, 11.0, 12.0, (0.26, 0.22, 0.21), 0.31),
    House(1, 11.0, 17.0, 16.0, (0.33, 0.25, 0.19), 0.28),
    House(1, 17.0, 26.5, 11.0, (0.27, 0.26, 0.27), 0.33),
    House(1, 26.5, 36.0, 14.5, (0.35, 0.24, 0.17), 0.30, shop=True),
    House(1, 36.0, 58.0, 11.5, (0.30, 0.27, 0.22), 0.32),
    House(1, 58.0, 85.0, 14.0, (0.29, 0.26, 0.25), 0.30),
]


def draw_facade(stage: Stage, house: House, texture: Array, rng: np.random.Generator) -> None:
    """A facade of bricks, courses and windows; a few rooms are lit and every frame leaks warmth."""
    length = house.z1 - house.z0
    patch = stage.patch((house.side * WALL, 0, house.z0), (0, 0, length), (0, house.tall, 0))
    columns, floors = max(2, round(length / 2.3)), int((house.tall - 1.2) / 3.1)
    cell_u, cell_v = patch.u / length * columns, (patch.v - 0.4) / 3.1
    column, floor = np.clip(cell_u.astype(int), 0, columns - 1), np.clip(cell_v.astype(int), 0, floors - 1)
    in_u, in_v = np.abs(cell_u - column - 0.5), cell_v - floor
    pane = (in_u < 0.24) & (in_v > 0.30) & (in_v < 0.80) & (patch.v < 0.4 + 3.1 * floors)
    frame = (in_u < 0.285) & (in_v > 0.25) & (in_v < 0.85) & ~pane & (patch.v < 0.4 + 3.1 * floors)
    cross = pane & ((in_u < 0.02) | (np.abs(in_v - 0.62) < 0.012))
    grain = lookup(texture, patch.u, patch.v, 7.0)
    course = 1 - 0.25 * (np.abs((patch.v % 3.1) - 0.5) < 0.08)
    albedo = np.asarray(house.colour) * ((1 + 0.16 * grain) * course)[:, None]
    albedo[frame], albedo[pane] = 0.32, (0.015, 0.017, 0.02)
    heat = house.heat + 0.025 * grain + 0.05 * np.exp(-patch.v / 1.2) - 0.03 * (course < 1)
    rooms = rng.uniform(size=(columns, floors))
    warm = rng.uniform(0.0, 0.13, size=(columns, floors))[column, floor]
    heat[frame] = (house.heat + 0.09 + warm)[frame]
    heat[pane] = (house.heat - 0.10 + 0.8 * warm)[pane]
    lit = pane & (rooms[column, floor] < 0.2) & ~cross
    blind = smoothstep(0.0, 0.25, in_v - 0.30 - 0.4 * (rooms[column, floor] * 37 % 1)) * 0.55 + 0.45
    tint = mix([1.0, 0.62, 0.26], [1.0, 0.84, 0.58], rooms[column, floor] * 53 % 1)
    emission = tint * (lit * blind * (0.35 + 0.6 * (rooms[column, floor] * 91 % 1)))[:, None]
    if house.shop:
        _shop(patch, length, albedo, heat, emission)
    stage.put(patch, albedo, heat, emission)
    cornice = stage.patch(
        (house.side * (WALL - 0.25), house.tall - 0.5, house.z0), (0, 0, length), (0, 0.55, 0)
    )
    stage.put(cornice, np.asarray(house.colour) * 0.8, house.heat + 0.03)


def _shop(patch: Patch, length: float, albedo: Array, heat: Array, emission: Array) -> None:
    """Turn the ground floor of a facade into a lit shop window with goods, a door and a dark fascia (in place)."""
    front = (patch.v > 0.45) & (patch.v < 2.5) & (patch.u > 0.5) & (patch.u < length - 0.5)
    fascia = (patch.v >= 2.6) & (patch.v < 3.25) & (patch.u > 0.3) & (patch.u < length - 0.3)
    goods = 0.5 + 0.5 * np.sin(patch.u * 4.1 + np.sin(patch.u * 9.7)) * smoothstep(1.5, 0.7, patch.v)
    level = (0.35 + 0.75 * smoothstep(0.6, 2.4, patch.v)) * (0.45 + 0.55 * goods)
    bars = np.abs((patch.u % 1.5) - 0.75) > 0.70
    glow = np.array([1.0, 0.80, 0.52]) * (1.25 * level * ~bars)[:, None]
    emission[front], albedo[front] = glow[front], 0.02
    albedo[fascia], emission[fascia] = (0.03, 0.06, 0.05), 0.0
    heat[front] = 0.36 + 0.05 * bars[front]
    heat[fascia] = 0.33
