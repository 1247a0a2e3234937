"""A sunny street of houses: colours, sky and shadows for the eye; warm bodies and sun-heated roofs for the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cars import CAR_LENGTH, CarFinish, draw_car_side
from .figures import Person, crown, draw_leaves, draw_person, draw_trunk
from .raster import Array, Mask, Pair, blur, film, fractal, lookup, mix, shrink, smoothstep, thermal, to_bytes
from .stage import Blob, Camera, Patch, Rectangle, Stage, sunlight

CAMERA = Camera(width=330, height=250, focal=300, horizon=124, centre=158, eye=2.3)
SUN = np.array([-0.62, 0.60, -0.42], np.float32) / np.linalg.norm([-0.62, 0.60, -0.42]).astype(np.float32)
CAR = (0.9, 10.6)
PEOPLE = [
    Person(-1.9, 14.4, "walk", (0.03, 0.035, 0.05), (0.02, 0.022, 0.03), 1.76, warm=1.12),
    Person(-0.75, 17.4, "stand", (0.06, 0.10, 0.03), (0.05, 0.07, 0.03), 1.72, warm=1.12),
    Person(-4.6, 18.6, "stand", (0.03, 0.02, 0.02), (0.03, 0.02, 0.02), 1.68, warm=1.12),
    Person(4.9, 13.1, "walk", (0.55, 0.08, 0.06), (0.05, 0.07, 0.16), 1.70, turn=-1, warm=1.12),
]
# Trees as (x, z, crown width, crown height, height of the crown's foot, colour).
TREES = [
    (-6.6, 13.4, 5.0, 5.2, 1.5, (0.060, 0.115, 0.022)),
    (1.6, 18.8, 5.2, 5.6, 1.6, (0.075, 0.130, 0.025)),
    (11.6, 20.0, 6.5, 7.0, 1.6, (0.055, 0.100, 0.022)),
    (-14.0, 25.0, 8.0, 9.0, 1.5, (0.050, 0.095, 0.024)),
]
House = tuple[float, float, float, float, float, float]
LEFT_HOUSE: House = (-10.6, -2.6, 20.0, 27.0, 3.1, 5.9)
RIGHT_HOUSE: House = (4.2, 10.6, 23.0, 32.0, 5.2, 8.4)
"""(x0, x1, z0, z1, eave, ridge) of the houses."""


def _ground(stage: Stage, texture: Array, tufts: Array) -> None:
    """Road, pavements with joints and lawns with mown stripes, one plane after the other."""
    land = stage.patch((-200, 0, 1), (400, 0, 0), (0, 0, 299))
    x, z = land.u - 200, land.v + 1
    near = np.exp(-land.depth / 30)
    coarse, fine = lookup(texture, x, z, 19.0), lookup(tufts, x, z * 0.5, 2.2) * near
    road = (z > 5.9) & (z < 12.6)
    path = (z >= 12.6) & (z < 14.7) | (z < 5.9) | (np.abs(x + 4.6 + 0.12 * (z - 14.7)) < 0.7) & (z < 20)
    drive = (np.abs(x - 7.3) < 1.5) & (z >= 12.6) & (z < 24)
    stripes = 0.08 * np.sign(np.sin(2 * np.pi * (x + 0.25 * z) / 2.4)) * (z < 24)
    lawn = mix([0.085, 0.165, 0.028], [0.13, 0.185, 0.04], smoothstep(-1.2, 1.4, coarse))
    albedo = lawn * np.clip(1 + 0.26 * fine + stripes, 0.2, 2)[:, None]
    heat = 0.36 + 0.015 * coarse + 0.02 * fine
    joints = (np.abs(x % 0.9 - 0.45) > 0.43) | (np.abs(z % 0.9 - 0.45) > 0.42)
    slab = (0.40 + 0.03 * fine - 0.10 * joints * near + 0.02 * coarse)[:, None] * np.array([1.0, 0.96, 0.88])
    albedo, heat = (
        np.where((path | drive)[:, None], slab, albedo),
        np.where(path | drive, 0.46 + 0.01 * fine, heat),
    )
    tracks = sum(np.exp(-(((z - at) / 0.3) ** 2)) for at in (7.1, 8.5, 10.3, 11.6))
    tar = 0.135 * (1 + 0.14 * fine + 0.10 * coarse - 0.10 * tracks)
    crack = np.abs(lookup(texture, x, z, 11.0) - 0.2) < 0.018
    line = (np.abs(z - 9.3) < 0.07) & (x % 4 < 2.2)
    tar = np.where(line, 0.62, np.where(crack, 0.06, tar))
    albedo = np.where(road[:, None], tar[:, None] * np.array([0.98, 1.0, 1.04]), albedo)
    heat = np.where(road, 0.55 + 0.02 * coarse + 0.035 * tracks - 0.06 * line, heat)
    kerb = np.abs(z - 12.55) < 0.10
    albedo[kerb], heat[kerb] = 0.42, 0.50
    under = smoothstep(1.15, 0.7, np.hypot((x - CAR[0] - CAR_LENGTH / 2) / 2.3, (z - CAR[1] - 0.7) / 1.05))
    albedo *= 1 - 0.85 * under[:, None]
    stage.put(land, albedo, heat + 0.06 * under)


def _openings(
    patch: Patch, spots: list[tuple[float, float, float, float]], albedo: Array, heat: Array
) -> None:
    """Cut windows (left, bottom, width, height) into a wall, in place: white frames, panes mirroring the sky."""
    for left, bottom, width, height in spots:
        u, v = patch.u - left, patch.v - bottom
        frame = (u > -0.09) & (u < width + 0.09) & (v > -0.09) & (v < height + 0.09)
        pane = (u > 0) & (u < width) & (v > 0) & (v < height) & (np.abs(u - width / 2) > 0.03)
        albedo[frame], heat[frame] = 0.72, 0.42
        sill = frame & (v < -0.03)
        albedo[sill] = 0.5
        shine = 0.04 + 0.20 * smoothstep(0.25, 1.1, v / height + 0.35 * u / width)
        albedo[pane] = (shine[:, None] * np.array([0.72, 0.9, 1.15]))[pane]
        heat[pane] = 0.17 + 0.05 * (v / height)[pane]


def _wall(
    stage: Stage, patch: Patch, texture: Array, colour: Any, spots: Any, door: float | None = None
) -> None:
    grain = lookup(texture, patch.u, patch.v, 5.0)
    damp = 0.25 * np.exp(-patch.v / 0.35)
    albedo = np.asarray(colour) * (1 + 0.05 * grain - damp)[:, None]
    heat = 0.44 + 0.012 * grain - 0.10 * damp
    plinth = patch.v < 0.4
    albedo[plinth], heat[plinth] = 0.22, 0.40
    _openings(patch, spots, albedo, heat)
    if door is not None:
        wood = (np.abs(patch.u - door) < 0.55) & (patch.v < 2.15)
        panel = 0.7 + 0.3 * (np.abs(np.abs(patch.u - door) - 0.28) < 0.18)
        albedo[wood] = (panel[:, None] * np.array([0.10, 0.045, 0.02]))[wood]
        heat[wood] = 0.47
    stage.put(patch, albedo, heat)


def _roof(stage: Stage, origin: Any, along: Any, up: Any, texture: Array, colour: Any) -> None:
    """Rows of tiles that shade one another; the sun makes them the hottest surface."""
    patch = stage.patch(origin, along, up)
    row = patch.v / 0.36
    tile = (patch.u / 0.30 + 0.5 * (row.astype(int) % 2)) % 1
    tone = lookup(texture, np.floor(patch.u / 0.30) * 0.9, np.floor(row) * 0.7, 5.0)
    level = (0.78 + 0.22 * np.sin(np.pi * tile)) * (0.72 + 0.35 * (row % 1)) * (1 + 0.10 * tone)
    stain = lookup(texture, patch.u, patch.v * 0.5, 9.0)
    stage.put(
        patch, np.asarray(colour) * (level * (1 + 0.10 * stain))[:, None], 0.57 + 0.02 * tone + 0.02 * stain
    )


def _left_house(stage: Stage, texture: Array) -> list[Rectangle]:
    """A cottage, its tiled roof towards the camera; returns the rectangles that cast its shadow."""
    x0, x1, z0, z1, eave, ridge = LEFT_HOUSE
    deep = (z1 - z0) / 2
    front = stage.patch((x0, 0, z0), (x1 - x0, 0, 0), (0, eave, 0))
    windows = [(0.9, 1.0, 1.5, 1.35), (3.1, 1.0, 1.1, 1.35)]
    _wall(stage, front, texture, (0.66, 0.58, 0.40), windows, door=5.9)
    slope = (x0 - 0.5, eave - 0.25, z0 - 0.5), (x1 - x0 + 1, 0, 0), (0, ridge - eave + 0.25, deep + 0.5)
    _roof(stage, *slope, texture, (0.42, 0.11, 0.05))
    gutter = stage.patch((x0 - 0.5, eave - 0.38, z0 - 0.52), (x1 - x0 + 1, 0, 0), (0, 0.14, 0))
    stage.put(gutter, 0.32, 0.40)
    casters = [
        slope,
        ((x1, 0, z0), (0, 0, z1 - z0), (0, eave, 0)),
        ((x0, 0, z1), (x1 - x0, 0, 0), (0, eave, 0)),
    ]
    stack = stage.patch((x1 - 2.6, ridge - 1.3, z0 + 2.4), (0.8, 0, 0), (0, 1.9, 0))
    stage.put(stack, (0.30, 0.13, 0.08), 0.62 + 0.12 * smoothstep(1.2, 1.9, stack.v))
    return casters


def _right_house(stage: Stage, texture: Array) -> list[Rectangle]:
    """A taller house, its gable towards the camera; returns the rectangles that cast its shadow."""
    x0, x1, z0, z1, eave, ridge = RIGHT_HOUSE
    half = (x1 - x0) / 2
    front = stage.patch((x0, 0, z0), (x1 - x0, 0, 0), (0, ridge, 0))
    gable = front.where(front.v < eave + (ridge - eave) * (1 - np.abs(front.u - half) / half))
    spots = [
        (0.8, 0.9, 1.3, 1.4),
        (4.2, 0.9, 1.3, 1.4),
        (0.9, 3.4, 1.1, 1.3),
        (4.3, 3.4, 1.1, 1.3),
        (2.75, 5.6, 0.9, 1.1),
    ]
    _wall(stage, gable, texture, (0.62, 0.60, 0.58), spots, door=half)
    side = stage.patch((x0, 0, z0), (0, 0, z1 - z0), (0, eave, 0))
    _wall(
        stage,
        side,
        texture,
        (0.62, 0.60, 0.58),
        [(1.6, 0.9, 1.2, 1.4), (5.2, 0.9, 1.2, 1.4), (3.4, 3.4, 1.2, 1.2)],
    )
    pitch = (x0 - 0.4, eave - 0.38, z0 - 0.4), (0, 0, z1 - z0 + 0.8), (half + 0.4, ridge - eave + 0.38, 0)
    _roof(stage, *pitch, texture, (0.13, 0.14, 0.17))
    for flip, foot in ((1, x0 - 0.4), (-1, x1 + 0.4)):
        board = (
            (foot, eave - 0.38, z0 - 0.38),
            (flip * (half + 0.4), ridge - eave + 0.38, 0),
            (-flip * 0.1, 0.2, 0),
        )
        stage.put(stage.patch(*board), 0.55, 0.42)
    west, south = ((x0, 0, z0), (0, 0, z1 - z0), (0, eave, 0)), ((x0, 0, z0), (x1 - x0, 0, 0), (0, eave, 0))
    return [pitch, west, south]


def _greenery(stage: Stage, rng: np.random.Generator) -> list[Blob]:
    """Trees, hedge, bushes and the far wood; returns the ellipsoids (centre, radii, raggedness) that cast shadows."""
    far = [crown(rng, "round", 160) for _ in range(3)]
    for x in np.arange(-62.0, 64.0, 3.4):
        tall = rng.uniform(7, 12)
        place = (x + rng.uniform(-1.5, 1.5), -0.12 * tall, 66 + rng.uniform(-8, 8))
        draw_leaves(stage, far[int(rng.integers(3))], place, (tall * 1.1, tall), (0.050, 0.085, 0.030), 0.33)
    blobs: list[Blob] = [((-11.2, 5.4, 2.4), (3.0, 2.2, 2.6), 1.0), ((-8.9, 4.2, 3.0), (1.6, 1.4, 1.6), 1.0)]
    for x, z, wide, tall, foot, colour in TREES:
        draw_trunk(stage, x, z + 0.05, 0.07 * wide, foot + 0.45 * tall, 0.40)
        draw_leaves(stage, crown(rng), (x, foot - 0.16 * tall, z), (wide, tall), colour, 0.37)
        blobs.append(((x, foot + 0.38 * tall, z), (0.40 * wide, 0.34 * tall, 0.40 * wide), 1.0))
    bush = [crown(rng, "bush", 160) for _ in range(2)]
    hedge = [(x, 16.9 + 0.1 * np.sin(x), 1.25) for x in np.arange(-0.2, 3.9, 0.55)]
    hedge += [(x, 19.6, 1.1) for x in np.arange(-10.2, -6.4, 0.7)]
    for x, z, tall in [*hedge, (-2.9, 19.5, 1.5), (9.5, 22.4, 1.3), (10.4, 22.3, 1.5), (-11.6, 18.5, 1.7)]:
        size = tall * rng.uniform(0.9, 1.15)
        draw_leaves(
            stage,
            bush[int(rng.integers(2))],
            (x, -0.24 * size, z),
            (1.5 * size, size),
            (0.055, 0.12, 0.028),
            0.36,
        )
        blobs.append(((x, 0.35 * size, z + 0.25), (0.5 * size, 0.42 * size, 0.35 * size), 0.6))
    for x, z in ((-8.9, 19.2), (-7.7, 19.15), (-6.9, 19.2), (9.0, 22.2)):
        draw_leaves(stage, bush[0], (x, -0.08, z), (0.8, 0.5), (0.42, 0.10, 0.16), 0.37)
    return blobs


def _sky(points: Array, sky: Mask, rng: np.random.Generator) -> tuple[Array, Array]:
    """Colours (n, 3) and temperature (n,) of the samples in ``sky``: blue, paler below, with fair-weather clouds."""
    x, slope = points[sky, 0] / points[sky, 2], points[sky, 1] / points[sky, 2]
    blue = mix([0.52, 0.68, 0.86], [0.10, 0.26, 0.62], smoothstep(0.0, 0.42, slope) ** 0.8)
    billow = fractal(rng, (512, 512), 110, beta=1.75)
    height = 1.0 / (slope + 0.16)
    cover = lookup(billow, 0.62 * x * height + 0.9, 0.85 * height, 4.2)
    above = lookup(billow, 0.62 * x * height + 0.84, 0.85 / (slope + 0.19), 4.2)
    cloud = smoothstep(0.1, 1.35, cover)
    white = np.clip(0.86 + 0.30 * (cover - above), 0.62, 1.05)[:, None] * np.array([1.0, 0.99, 0.98])
    return mix(blue, white, 0.95 * cloud), mix(0.16, 0.04, smoothstep(0.0, 0.4, slope)) + 0.09 * cloud


def daylight(seed: int) -> Pair:
    """330 x 250: what is bright to the eye and what is warm are two different things."""
    rng = np.random.default_rng(seed)
    stage = Stage(CAMERA)
    texture, tufts = fractal(rng, (512, 512), 70, beta=1.35), fractal(rng, (512, 512), 22, beta=1.0)
    _ground(stage, texture, tufts)
    rectangles = _left_house(stage, texture) + _right_house(stage, texture)
    blobs = _greenery(stage, rng)
    leafy = np.linalg.norm(stage.normal, axis=-1) > 0
    finish = CarFinish(
        (0.05, 0.16, 0.42), body=0.36, engine=0.80, tyre=0.64, glass=(0.05, 0.07, 0.09), glass_heat=0.18
    )
    draw_car_side(stage, (CAR[0], 0, CAR[1]), (1, 0, 0), (0, 0, 1), finish)
    blobs.append(((CAR[0] + CAR_LENGTH / 2, 0.45, CAR[1] + 0.9), (0.53 * CAR_LENGTH, 0.8, 1.0), 0.0))
    for who in PEOPLE:
        draw_person(stage, who, label=1)
        blobs.append(((who.x, 0.5 * who.tall, who.z + 0.2), (0.22, 0.52 * who.tall, 0.18), 0.0))
    points = stage.points()
    sun = sunlight(points, stage.normal, SUN, rectangles, blobs, texture) * leafy
    ambient = (0.26 + 0.12 * stage.normal[:, 1:2]) * np.array([0.78, 0.92, 1.22])
    picture = stage.albedo * (ambient + 2.3 * sun[:, None] * np.array([1.0, 0.94, 0.82])).astype(np.float32)
    picture = mix(picture, [0.48, 0.60, 0.74], 1 - np.exp(-stage.depth / 330))
    heat = stage.heat + 0.17 * sun * (stage.label == 0)
    sky = stage.sky()
    picture[sky], heat[sky] = _sky(points, sky, rng)
    vi = to_bytes(film(1.25 * blur(stage.plane(picture), 0.3)), rng, 0.006)
    people = shrink((stage.label == 1).astype(np.float32).reshape(CAMERA.shape), CAMERA.factor)
    return Pair(vi, thermal(stage.plane(heat), rng), {"people": people})
