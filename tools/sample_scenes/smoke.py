"""A brush fire beside a barn: smoke hides people and a truck from the eye but not from the thermal camera."""

from __future__ import annotations

import numpy as np

from .cars import CarFinish, draw_car_end, draw_car_side
from .figures import Person, crown, draw_leaves, draw_person, draw_trunk
from .raster import Array, Pair, blur, film, fractal, lookup, mix, shrink, smoothstep, thermal, to_bytes
from .stage import Camera, Patch, Stage

CAMERA = Camera(width=340, height=260, focal=330, horizon=112, centre=165, eye=2.0)
FIRE = (-1.6, 21.0)
PEOPLE = [
    Person(0.9, 18.0, "stand", (0.20, 0.15, 0.07), (0.16, 0.13, 0.08), 1.82),
    Person(2.3, 19.5, "walk", (0.18, 0.14, 0.07), (0.15, 0.12, 0.08), 1.78, turn=-1),
    Person(-4.4, 23.5, "walk", (0.17, 0.14, 0.08), (0.15, 0.12, 0.08), 1.75),
    Person(5.0, 17.0, "stand", (0.20, 0.15, 0.07), (0.16, 0.13, 0.08), 1.76),
]


def _field(stage: Stage, texture: Array, tufts: Array) -> None:
    """Dry grass with a dirt track, and ground the fire has warmed."""
    ground = stage.patch((-150, 0, 1), (300, 0, 0), (0, 0, 139))
    x, z = ground.u - 150, ground.v + 1
    near = np.exp(-ground.depth / 22)
    coarse = lookup(texture, x, z, 23.0)
    fine = lookup(tufts, x, z * 0.35, 2.6) * near + 0.5 * lookup(tufts, x, z * 0.35, 9.0)
    middle = 1.4 + 0.03 * (z - 4) + 0.35 * np.sin(z / 7)
    ruts = np.exp(-(((np.abs(x - middle) - 0.75) / 0.34) ** 2)) * (0.8 + 0.2 * coarse)
    grass = mix([0.20, 0.18, 0.09], [0.11, 0.13, 0.055], smoothstep(-0.9, 0.9, coarse))
    albedo = grass * np.clip(1 + 0.34 * fine, 0.15, 2)[:, None]
    albedo = mix(albedo, np.array([0.20, 0.16, 0.12]) * (1 + 0.12 * fine)[:, None], np.clip(0.8 * ruts, 0, 1))
    away = np.hypot(x - FIRE[0], z - FIRE[1])
    burnt = smoothstep(3.6, 1.6, away + 0.7 * fine)
    albedo = mix(albedo, [0.02, 0.018, 0.016], burnt)
    heat = (
        0.31
        + 0.018 * coarse
        + 0.022 * fine
        + 0.05 * ruts
        + 0.30 * np.exp(-((away / 2.6) ** 2))
        + 0.12 * burnt
    )
    stage.put(ground, albedo, heat)


def _wall(stage: Stage, patch: Patch, texture: Array, tone: float) -> None:
    """Weathered boards."""
    boards = np.abs((patch.u % 0.28) - 0.14) > 0.125
    grain = lookup(texture, patch.u * 5, patch.v, 6.0)
    plank = lookup(texture, np.floor(patch.u / 0.28) * 1.7, 0 * patch.v, 6.0)
    level = tone * (1 + 0.16 * grain + 0.14 * plank - 0.5 * boards)
    heat = 0.37 + 0.015 * grain + 0.02 * plank - 0.03 * boards
    stage.put(patch, np.clip(level, 0.01, 1)[:, None] * np.array([0.30, 0.21, 0.16]), heat)


def _barn(stage: Stage, texture: Array) -> None:
    """Gable towards the camera, tin roof, a door ajar with warmth inside."""
    x0, x1, z0, z1, eave, ridge = -14.5, -7.5, 25.0, 36.0, 3.6, 6.2
    half = (x1 - x0) / 2
    front = stage.patch((x0, 0, z0), (x1 - x0, 0, 0), (0, ridge, 0))
    gable = front.v < eave + (ridge - eave) * (1 - np.abs(front.u - half) / half)
    _wall(stage, front.where(gable), texture, 0.75)
    _wall(stage, stage.patch((x1, 0, z0), (0, 0, z1 - z0), (0, eave, 0)), texture, 1.0)
    roof = stage.patch(
        (x1 + 0.35, eave - 0.26, z0 - 0.4), (0, 0, z1 - z0 + 0.8), (-half - 0.35, ridge - eave + 0.26, 0)
    )
    ribs = 0.5 + 0.5 * np.sin(roof.u * 2 * np.pi / 0.55)
    rust = smoothstep(0.0, 1.6, lookup(texture, roof.u, roof.v * 0.4, 8.0))
    tin = mix(np.array([0.24, 0.25, 0.26]) * (0.75 + 0.35 * ribs)[:, None], [0.22, 0.11, 0.06], 0.7 * rust)
    stage.put(roof, tin, 0.20 + 0.03 * ribs + 0.05 * rust)
    for side in (-1, 1):
        verge = (side * (half + 0.3), -(ridge - eave + 0.2), 0)
        edge = stage.patch((x0 + half, ridge - 0.05, z0 - 0.38), verge, (side * -0.07, 0.2, 0))
        stage.put(edge, 0.16, 0.27)
    door = stage.patch((x0 + half - 1.3, 0, z0 - 0.05), (2.6, 0, 0), (0, 2.7, 0))
    ajar = np.abs(door.u - 1.55) < 0.42
    cross = np.abs(np.abs(door.u - 1.3) / 1.3 - np.abs(door.v - 1.35) / 1.35) < 0.07
    tone = np.where(cross, 0.32, 0.13) * ~ajar + 0.008
    warm = np.where(ajar, 0.60 - 0.05 * door.v, 0.36)
    stage.put(door, tone[:, None] * np.array([1.0, 0.85, 0.72]), warm)
    loft = stage.patch((x0 + half - 0.45, 3.7, z0 - 0.05), (0.9, 0, 0), (0, 0.9, 0))
    stage.put(loft, 0.01, 0.46)


def _forest(stage: Stage, rng: np.random.Generator) -> None:
    """Two ranks of conifers and broad crowns along the far edge of the field."""
    shapes = [crown(rng, "conifer", 192) for _ in range(3)] + [crown(rng, "round", 192) for _ in range(2)]
    for rank, (z, step) in enumerate(((52.0, 1.9), (64.0, 2.3))):
        for x in np.arange(-38.0, 38.0, step):
            kind = int(rng.choice(5, p=[0.26, 0.26, 0.22, 0.13, 0.13]))
            tall = rng.uniform(8.5, 14.5) * (1.0 if kind < 3 else 0.72) * (1.0 + 0.35 * rank)
            wide = tall * (0.52 if kind < 3 else 0.95)
            green = (0.035, 0.05, 0.022) if kind < 3 else (0.075, 0.08, 0.025)
            place = (x + rng.uniform(-0.8, 0.8), -0.4 if kind < 3 else -0.06 * tall, z + rng.uniform(-3, 3))
            draw_leaves(stage, shapes[kind], place, (wide, tall), green, rng.uniform(0.235, 0.285))


def _fence(stage: Stage, texture: Array, rng: np.random.Generator) -> None:
    """Leaning posts and two wires in the foreground, in front of the smoke."""
    for x in np.arange(-7.0, 7.5, 2.45):
        z = 8.4 + 0.08 * x
        draw_trunk(stage, x, z, 0.13, 1.15 + rng.uniform(-0.08, 0.08), 0.40, lean=rng.uniform(-0.06, 0.06))
    for y in (0.55, 0.95):
        wire = stage.patch((-9, y - 0.06, 8.4 - 0.72), (18, 0, 1.44), (0, 0.12, 0))
        sag = 0.06 - 0.05 * np.abs(np.sin(np.pi * (wire.u + 0.45) / 2.45)) ** 2 + 0.03
        stage.put(wire.where(np.abs(wire.v - sag) < 0.010), 0.12, 0.26)
    bush = crown(rng, "bush", 192)
    for x, z, size in ((-4.2, 7.6, 1.5), (4.6, 7.9, 1.7), (3.3, 8.1, 1.1)):
        draw_leaves(stage, bush, (x, -0.25, z), (1.7 * size, size), (0.12, 0.115, 0.05), 0.29)


def _fire(stage: Stage, rng: np.random.Generator) -> None:
    """A heap of burning brush: dark sticks, tongues of flame."""
    x, z = FIRE
    tongues = fractal(rng, (256, 256), 60, beta=1.6, stretch=(2.2, 1.0))
    patch = stage.patch((x - 1.7, 0, z), (3.4, 0, 0), (0, 2.6, 0))
    u, v = (patch.u - 1.7) / 1.7, patch.v / 2.6
    wild = lookup(tongues, u + 1, -v, 2.0)
    flame = (1 - u**2) * (1.15 - v) - 1.05 * v + 0.34 * wild * (0.35 + v)
    heap = 0.30 * (1 - u**2) + 0.03 * wild > v
    core = smoothstep(0.0, 0.55, flame)
    glow = mix([1.6, 0.32, 0.03], [7.0, 3.6, 0.9], core) * smoothstep(0.0, 0.12, flame)[:, None]
    seen = (flame > 0.03) | heap
    glow = np.where(heap[:, None], 0.35 * glow, glow)
    stage.put(patch.where(seen), 0.02, mix(0.78, 1.0, core)[seen], glow[seen])


def _stage(seed: int) -> Stage:
    rng = np.random.default_rng(seed)
    stage = Stage(CAMERA)
    texture, tufts = fractal(rng, (512, 512), 80, beta=1.4), fractal(rng, (512, 512), 26, beta=1.1)
    _field(stage, texture, tufts)
    _forest(stage, rng)
    _barn(stage, texture)
    _fire(stage, rng)
    truck = CarFinish((0.22, 0.025, 0.02), body=0.43, engine=0.92, tyre=0.58)
    draw_car_side(stage, (5.6, 0, 24.0), (1, 0, 0), (0, 0, 1), truck)
    draw_car_end(stage, -5.9, 30.0, truck, "off")
    for who in PEOPLE:
        draw_person(stage, who, label=1)
    _fence(stage, texture, rng)
    return stage


def _plume(rng: np.random.Generator) -> tuple[Array, Array]:
    """Optical depth (H, W) of the smoke that rises from the fire and drifts right, and its relief about 0."""
    height, width = CAMERA.height, CAMERA.width
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    billow = fractal(rng, (512, 512), 95, beta=1.75)[:height, :width]
    curl = fractal(rng, (512, 512), 46, beta=1.75)[:height, :width]
    fine = fractal(rng, (512, 512), 22, beta=1.5)[:height, :width]
    rows, cols = rows + 11 * curl, cols + 13 * billow
    col, row = CAMERA.project((FIRE[0], 0.9, FIRE[1]))
    along, rise = (cols - col) / 100.0, (row - rows) / 100.0
    middle = 0.62 * np.clip(along + 0.12, 0, 9) ** 0.6
    column = np.exp(-((along / 0.16) ** 2) - ((rise - 0.22) / 0.42) ** 2)
    spread = 0.20 + 0.34 * np.clip(along + 0.1, 0, 4) ** 0.8
    drift = np.exp(-(((rise - middle) / spread) ** 2)) * smoothstep(-0.30, 0.25, along)
    bank = 1.15 * np.exp(-(((rise + 0.03) / 0.26) ** 2)) * smoothstep(-1.35, -0.3, along)
    density = 2.2 * column + 2.4 * drift + 1.55 * bank
    puffs = np.clip(0.95 + 0.42 * billow + 0.28 * curl + 0.10 * fine, 0.08, 3)
    relief = billow + 0.8 * curl + 0.35 * fine
    return density * puffs + 0.10, relief.astype(np.float32)


def smoke(seed: int) -> Pair:
    """340 x 260: the eye sees smoke; long waves pass through it."""
    rng = np.random.default_rng(seed + 1)
    stage = _stage(seed)
    points = stage.points()
    facing = np.clip(stage.normal @ np.array([-0.45, 0.75, -0.45], np.float32), 0, 1)
    ground = (stage.normal[:, 1] > 0.95)[:, None] * 0.25
    light = (0.55 + 0.35 * stage.normal[:, 1:2] + 0.55 * facing[:, None] + ground) * np.array(
        [0.97, 0.98, 1.0]
    )
    clear = stage.albedo * light.astype(np.float32) + stage.emission
    haze = 1 - np.exp(-stage.depth / 140)
    clear = mix(clear, [0.62, 0.64, 0.67], haze)
    sky = stage.sky()
    slope = points[sky, 1] / points[sky, 2]
    clear[sky] = mix([0.82, 0.83, 0.84], [0.58, 0.63, 0.70], smoothstep(0.0, 0.34, slope))
    behind = stage.plane(smoothstep(13.0, 17.0, stage.depth))
    optical, relief = _plume(rng)
    veil = 1 - np.exp(-optical * behind)
    lit = np.clip(0.52 + 0.10 * relief - 0.16 * blur(np.roll(relief, (5, 4), (0, 1)), 3.0), 0.16, 0.95)
    rows, cols = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    col, row = CAMERA.project((FIRE[0], 0.8, FIRE[1]))
    ember = np.exp(-np.hypot((cols - col) / 30, (rows - row) / 26))[..., None] * np.array([0.55, 0.19, 0.04])
    picture = mix(stage.plane(clear), lit[..., None] * np.array([0.97, 0.98, 1.0]) + ember, veil)
    vi = to_bytes(film(1.05 * blur(picture, 0.35)), rng, 0.010)
    stage.heat[sky] = mix(0.17, 0.05, smoothstep(0.0, 0.34, slope))
    heat = stage.plane(stage.heat)
    heat = mix(heat, 0.33, 1 - np.exp(-0.035 * optical * behind))
    heat = heat + 0.22 * blur(np.maximum(heat - 0.75, 0), 5.0)
    people = shrink((stage.label == 1).astype(np.float32).reshape(CAMERA.shape), CAMERA.factor)
    return Pair(vi, thermal(heat, rng), {"people": people})
