"""A wet street at night: lamps and windows for the eye, people and engines for the thermal camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cars import CAR_LENGTH, CAR_WIDTH, CarFinish, Lights, draw_car_end, draw_car_side
from .facades import HOUSES, WALL, draw_facade
from .figures import Person, crown, draw_leaves, draw_person, draw_trunk
from .raster import Array, Pair, blur, film, fractal, lookup, mix, shrink, smoothstep, thermal, to_bytes
from .stage import Camera, Lamp, Stage, lamplight

CAMERA = Camera(width=352, height=256, focal=300, horizon=124, centre=182, eye=1.75)
KERB, PATH = 4.2, 0.13
SODIUM, WHITE = (1.0, 0.60, 0.24), (0.80, 0.92, 1.0)

STREET_LAMPS = [
    Lamp((-3.3, 6.0, 16.0), SODIUM, 42.0, hooded=True),
    Lamp((3.3, 6.0, 29.0), SODIUM, 42.0, hooded=True),
    Lamp((-3.3, 6.0, 42.0), SODIUM, 42.0, hooded=True),
    Lamp((3.3, 6.0, 56.0), SODIUM, 42.0, hooded=True),
    Lamp((-3.3, 6.0, 72.0), SODIUM, 42.0, hooded=True),
]
OTHER_LAMPS = [
    Lamp((0.3, 1.0, 2.0), (1.0, 0.86, 0.66), 8.0),
    Lamp((-6.0, 1.9, 11.4), (1.0, 0.78, 0.5), 3.0),
    Lamp((-6.3, 3.6, 14.2), (0.15, 1.0, 0.45), 1.5),
    Lamp((6.0, 1.9, 31.0), (1.0, 0.70, 0.45), 4.0),
    Lamp((-1.6, 0.6, 23.5), (0.95, 0.97, 1.0), 5.0),
    Lamp((1.7, 0.7, 19.3), (1.0, 0.06, 0.04), 1.0),
]

BROWN, MOSS, SAND = (0.16, 0.12, 0.09), (0.12, 0.125, 0.09), (0.22, 0.18, 0.13)
PEOPLE = [
    Person(4.75, 10.2, "stand", BROWN, MOSS, 1.80, PATH),
    Person(5.25, 10.6, "walk", SAND, BROWN, 1.66, PATH, -1),
    Person(-2.6, 11.3, "walk", MOSS, BROWN, 1.76),
    Person(-5.5, 21.0, "walk", SAND, SAND, 1.80, PATH, -1),
    Person(5.2, 22.0, "walk", BROWN, MOSS, 1.70, PATH),
    Person(0.3, 34.0, "walk", SAND, BROWN, 1.75),
]
PARKED, GOING, COMING = (2.3, 12.4), (0.85, 19.5), (-2.5, 24.0)
"""(x, z) of the near left corners of the cars."""


def _ground(stage: Stage, texture: Array) -> None:
    """Asphalt with tyre tracks and worn markings, raised pavements with slabs, kerbs and a warm manhole."""
    for side in (-1, 1):
        left = min(side * KERB, side * WALL)
        path = stage.patch((left, PATH, 1.0), (WALL - KERB, 0, 0), (0, 0, 119))
        near = np.exp(-path.depth / 18)
        slabs = ((path.u % 0.93 < 0.04) | (path.v % 0.93 < 0.05)) * near
        grain = lookup(texture, path.u, path.v, 5.0) * near
        stage.put(
            path,
            (0.17 * (1 + 0.18 * grain - 0.5 * slabs))[:, None] * np.array([1, 0.98, 0.95]),
            0.37 + 0.03 * grain,
        )
        kerb = stage.patch((side * KERB, 0, 1.0), (0, 0, 119), (0, PATH, 0))
        stage.put(kerb, 0.24, 0.42)
    road = stage.patch((-KERB, 0, 1.0), (2 * KERB, 0, 0), (0, 0, 119))
    x = road.u - KERB
    near = np.exp(-road.depth / 14)
    grain = lookup(texture, road.u, road.v, 3.0) * near + 0.6 * lookup(texture, road.u, road.v * 0.4, 17.0)
    tracks = sum(np.exp(-(((x - lane - off) / 0.32) ** 2)) for lane in (-2.1, 2.1) for off in (-0.78, 0.78))
    albedo = 0.075 * (1 + 0.20 * grain - 0.12 * tracks)
    dash = (np.abs(x) < 0.075) & (road.v % 6.0 < 3.0) & (grain > -0.9)
    edge = (np.abs(np.abs(x) - 3.85) < 0.06) & (grain > -0.8)
    albedo[dash | edge] = 0.34
    heat = 0.27 + 0.02 * grain + 0.055 * tracks + 0.03 * (dash | edge) + 0.05 * smoothstep(20, 90, road.depth)
    hole = np.hypot(x + 1.3, road.v - 6.3) / 0.42
    heat = mix(heat, 0.72 - 0.08 * hole, smoothstep(1.06, 0.94, hole))
    albedo[hole < 1] *= 0.62 + 0.2 * np.sin(x[hole < 1] * 40) * np.sin(road.v[hole < 1] * 40)
    for left, z in (PARKED, GOING, COMING):
        shade = smoothstep(1.35, 0.8, np.hypot((x - left - 0.89) / 1.0, (road.v - z - 1.15) / 2.6))
        albedo *= 1 - 0.8 * shade
        heat = heat + 0.13 * shade
    stage.put(road, albedo[:, None] * np.array([0.95, 0.98, 1.05]), heat)


def _furniture(stage: Stage) -> None:
    """Lamp posts, the green cross of a pharmacy, a traffic sign and a litter bin."""
    for lamp in STREET_LAMPS:
        x, y, z = lamp.position
        foot = np.sign(x) * (KERB + 0.35)
        stage.put(stage.patch((foot - 0.07, PATH, z), (0.14, 0, 0), (0, y, 0)), 0.05, 0.25)
        stage.put(stage.patch((min(foot, x), y + 0.05, z), (abs(foot - x), 0, 0), (0, 0.08, 0)), 0.05, 0.25)
        head = stage.patch((x - 0.35, y - 0.12, z), (0.7, 0, 0), (0, 0.17, 0))
        stage.put(head, 0.1, 0.9, np.asarray(lamp.colour) * 22)
    sign = stage.patch((-6.9, 3.1, 14.2), (1.0, 0, 0), (0, 1.0, 0))
    arm_u, arm_v = np.abs(sign.u - 0.5), np.abs(sign.v - 0.5)
    cross = (np.maximum(arm_u, arm_v) < 0.46) & (np.minimum(arm_u, arm_v) < 0.17)
    core = smoothstep(0.17, 0.05, np.minimum(arm_u, arm_v)) * 2.2 + 1.0
    stage.put(sign.where(cross), 0.05, 0.5, (core[:, None] * np.array([0.06, 1.0, 0.36]))[cross])
    post = stage.patch((4.55, PATH, 17.6), (0.07, 0, 0), (0, 2.5, 0))
    stage.put(post, 0.25, 0.29)
    plate = stage.patch((4.2, 2.1, 17.55), (0.76, 0, 0), (0, 0.76, 0))
    radius = np.hypot(plate.u - 0.38, plate.v - 0.38)
    colour = np.where((radius > 0.28)[:, None], (0.55, 0.03, 0.03), (0.7, 0.7, 0.68))
    stage.put(plate.where(radius < 0.37), colour[radius < 0.37], 0.24)
    litter = stage.patch((-5.0, PATH, 9.6), (0.5, 0, 0), (0, 0.85, 0))
    bulge = (litter.u - 0.25) / 0.25
    normal = np.stack([bulge, 0 * bulge, -np.sqrt(np.clip(1 - bulge**2, 0, 1))], -1)
    stage.put(litter, (0.06, 0.075, 0.06), 0.26 + 0.04 * (litter.v > 0.75), normal=normal)


def _traffic(stage: Stage) -> None:
    """One car comes, one goes, and one is parked in the dark with its engine still warm."""
    coming = CarFinish((0.20, 0.21, 0.22), engine=0.95, tyre=0.62)
    going = CarFinish((0.16, 0.03, 0.03), engine=0.92, tyre=0.66)
    parked = CarFinish((0.035, 0.045, 0.07), body=0.24, engine=0.80, tyre=0.42, glass_heat=0.16)
    draw_car_side(stage, (COMING[0] + CAR_WIDTH, 0, COMING[1]), (0, 0, 1), (-1, 0, 0), coming)
    draw_car_end(stage, *COMING, coming, "front")
    others: list[tuple[tuple[float, float], CarFinish, Lights]] = [
        (GOING, going, "rear"),
        (PARKED, parked, "off"),
    ]
    for (x, z), finish, lights in others:
        draw_car_side(stage, (x, 0, z + CAR_LENGTH), (0, 0, -1), (1, 0, 0), finish)
        draw_car_end(stage, x, z, finish, lights)


def _stage(camera: Camera, seed: int) -> Stage:
    """The whole street as ``camera`` sees it; the same seed gives the same street from everywhere."""
    rng = np.random.default_rng(seed)
    stage = Stage(camera)
    texture = fractal(rng, (512, 512), 60, beta=1.25)
    if camera.eye > 0:
        _ground(stage, texture)
    for house in HOUSES:
        draw_facade(stage, house, texture, rng)
    end = stage.patch((-WALL, 0, 120.0), (2 * WALL, 0, 0), (0, 9, 0))
    stage.put(end, 0.1, 0.16)
    _furniture(stage)
    _traffic(stage)
    draw_trunk(stage, -4.9, 26.5, 0.3, 4.2, 0.30)
    draw_leaves(stage, crown(rng), (-4.9, 2.4, 26.4), (4.6, 5.2), (0.05, 0.08, 0.03), 0.30)
    for who in PEOPLE:
        draw_person(stage, who, label=1)
    return stage


def _lit(stage: Stage) -> Array:
    """Linear light at the pixels of ``stage``: lamps, a breath of city light, haze and sky."""
    points = stage.points()
    light = 0.008 * np.array([0.8, 0.88, 1.2]) + 0.55 * lamplight(
        points, stage.normal, STREET_LAMPS + OTHER_LAMPS
    )
    picture = stage.albedo * light.astype(np.float32) + stage.emission
    haze = smoothstep(8, 130, stage.depth)[:, None] * np.array([0.030, 0.024, 0.022])
    sky = stage.sky()
    picture += haze
    height = points[sky, 1] / points[sky, 2]
    picture[sky] = mix([0.032, 0.025, 0.026], [0.005, 0.007, 0.014], smoothstep(0.0, 0.42, height))
    return stage.plane(picture)


def _reflection(seed: int) -> Array:
    """The street mirrored in the road: what a camera below the ground sees, turned over about the horizon."""
    below = replace(CAMERA, eye=-CAMERA.eye, horizon=CAMERA.height - CAMERA.horizon, factor=1)
    stage = _stage(below, seed)
    return _lit(stage)[::-1]


def _glow(picture: Array) -> Array:
    """Light scattered in the lens and the damp air round everything bright."""
    bright = np.maximum(picture - 0.5, 0)
    return picture + sum(
        w * blur(bright, s) for s, w in ((1.2, 0.18), (4.0, 0.10), (11.0, 0.07), (28.0, 0.05))
    )


def _cones() -> Array:
    """(H, W, 3) faint cones of light under the street lamps, narrow at the lamp and gone at the ground."""
    rows, cols = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width].astype(np.float32)
    light = np.zeros((CAMERA.height, CAMERA.width, 3), np.float32)
    for lamp in STREET_LAMPS:
        col, row = CAMERA.project(lamp.position)
        tall = CAMERA.focal * 6.0 / lamp.position[2]
        down = (rows - row) / tall
        spread = (cols - col) / (tall * (0.05 + 0.42 * np.clip(down, 0, 1)))
        cone = np.exp(-(spread**2)) * smoothstep(-0.01, 0.04, down) * np.exp(-2.6 * np.clip(down, 0, 2))
        light += (0.075 * cone)[..., None] * np.asarray(lamp.colour, np.float32)
    return light


def night_street(seed: int) -> Pair:
    """352 x 256: a colour camera and a thermal camera look down the same street."""
    rng = np.random.default_rng(seed + 1)
    stage = _stage(CAMERA, seed)
    points = stage.points()
    ripple = fractal(rng, (512, 512), 90, beta=1.5)
    puddle = smoothstep(-0.5, 1.2, lookup(ripple, points[:, 0], 0.6 * points[:, 2], 14.0))
    slant = np.clip(points[:, 2] / np.hypot(points[:, 2], CAMERA.eye), 0, 1) ** 6
    road = (points[:, 1] < 0.01) * stage.normal[:, 1] * slant * (0.16 + 0.55 * puddle)
    wet = stage.plane(np.clip(road, 0, 1).astype(np.float32))
    mirror = _reflection(seed)
    mirror = 0.5 * blur(mirror, (1.2, 0.7)) + 0.5 * blur(mirror, (9.0, 1.2))
    picture = _glow(_lit(stage) + wet[..., None] * mirror) + _cones()
    vi = to_bytes(film(1.45 * blur(picture, 0.35)), rng, 0.013)
    sky = stage.sky()
    stage.heat[sky] = mix(0.17, 0.03, smoothstep(0.02, 0.4, points[sky, 1] / points[sky, 2]))
    heat = stage.plane(stage.heat)
    heat = heat + 0.10 * blur(np.maximum(heat - 0.6, 0), 4.0)
    people = shrink((stage.label == 1).astype(np.float32).reshape(CAMERA.shape), CAMERA.factor)
    return Pair(vi, thermal(heat, rng), {"people": people})
