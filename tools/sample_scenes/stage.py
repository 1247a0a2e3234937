"""A small renderer: rectangles in space, a depth buffer and deferred lighting, so both modalities share edges.

World units are metres: x right, y up, z away from the camera, which looks level along z.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raster import Array, Mask, lookup, shrink, smoothstep

FAR = 1e4
Rectangle = tuple[Any, Any, Any]
"""Origin and two edges, (3,) each."""
Blob = tuple[Any, Any, float]
"""An ellipsoid: centre (3,), radii (3,), how ragged its shadow is."""


@dataclass(frozen=True)
class Camera:
    """``width`` x ``height`` pixels, each ``factor`` x ``factor`` samples; the other lengths in pixels too.

    The horizon is at row ``horizon`` and x = 0 vanishes at column ``centre``; ``eye`` is the height in metres.
    """

    width: int
    height: int
    focal: float
    horizon: float
    centre: float
    eye: float
    factor: int = 3

    @property
    def shape(self) -> tuple[int, int]:
        return self.height * self.factor, self.width * self.factor

    def rays(self, rows: Any, cols: Any) -> tuple[Array, Array]:
        """x and y of the rays (x, y, 1) through samples at ``rows`` and ``cols``."""
        x = ((np.asarray(cols) + 0.5) / self.factor - self.centre) / self.focal
        y = (self.horizon - (np.asarray(rows) + 0.5) / self.factor) / self.focal
        return x.astype(np.float32), y.astype(np.float32)

    def project(self, point: Any) -> tuple[float, float]:
        """Column and row, in pixels, of a world point before the camera."""
        x, y, z = point
        return self.centre + self.focal * x / z, self.horizon - self.focal * (y - self.eye) / z


@dataclass(frozen=True)
class Patch:
    """The visible samples of a rectangle: ``index`` into the flat image, metres (u, v) along its edges."""

    index: NDArray[np.int64]
    u: Array
    v: Array
    depth: Array
    normal: Array

    def where(self, mask: Mask) -> Patch:
        return Patch(self.index[mask], self.u[mask], self.v[mask], self.depth[mask], self.normal)


@dataclass
class Stage:
    """What every sample shows: ``albedo``, ``emission`` (n, 3), ``heat`` (n,), ``depth`` (n,), ``normal`` (n, 3)."""

    camera: Camera
    albedo: Array = field(init=False)
    emission: Array = field(init=False)
    normal: Array = field(init=False)
    heat: Array = field(init=False)
    depth: Array = field(init=False)
    label: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        n = self.camera.shape[0] * self.camera.shape[1]
        self.albedo, self.emission, self.normal = (np.zeros((n, 3), np.float32) for _ in range(3))
        self.heat = np.zeros(n, np.float32)
        self.depth = np.full(n, FAR, np.float32)
        self.label = np.zeros(n, np.uint8)

    def patch(self, origin: Any, edge_u: Any, edge_v: Any) -> Patch:
        """The samples where the rectangle ``origin`` + [0, 1] ``edge_u`` + [0, 1] ``edge_v`` is in front."""
        origin, edge_u, edge_v = (np.asarray(vector, np.float32) for vector in (origin, edge_u, edge_v))
        size_u, size_v = np.linalg.norm(edge_u), np.linalg.norm(edge_v)
        unit_u, unit_v = edge_u / size_u, edge_v / size_v
        normal = np.cross(unit_u, unit_v).astype(np.float32)
        offset = origin - np.array([0, self.camera.eye, 0], np.float32)
        rows, cols = self._bounds([origin, origin + edge_u, origin + edge_v, origin + edge_u + edge_v])
        x, y = self.camera.rays(rows[:, None], cols[None, :])
        slant = normal[0] * x + normal[1] * y + normal[2]
        depth = normal @ offset / np.where(np.abs(slant) < 1e-9, 1e-9, slant)
        u = depth * (unit_u[0] * x + unit_u[1] * y + unit_u[2]) - unit_u @ offset
        v = depth * (unit_v[0] * x + unit_v[1] * y + unit_v[2]) - unit_v @ offset
        index = rows[:, None] * self.camera.shape[1] + cols[None, :]
        seen = (
            (depth > 0.1) & (depth < self.depth[index]) & (u >= 0) & (u <= size_u) & (v >= 0) & (v <= size_v)
        )
        facing = -normal if normal @ offset > 0 else normal
        return Patch(index[seen], u[seen], v[seen], depth[seen], facing)

    def _bounds(self, corners: list[Array]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        height, width = self.camera.shape
        if min(float(corner[2]) for corner in corners) < 0.2:
            return np.arange(height), np.arange(width)
        at = np.array([self.camera.project(corner) for corner in corners]) * self.camera.factor
        (left, top), (right, bottom) = np.floor(at.min(0)).astype(int) - 1, np.ceil(at.max(0)).astype(int) + 2
        return np.arange(max(top, 0), min(bottom, height)), np.arange(max(left, 0), min(right, width))

    def put(
        self, patch: Patch, albedo: Any, heat: Any, emission: Any = 0.0, normal: Any = None, label: int = 0
    ) -> None:
        """Paint the samples of ``patch``: colours (3,) or (n, 3), ``heat`` () or (n,)."""
        self.albedo[patch.index] = albedo
        self.heat[patch.index] = heat
        self.emission[patch.index] = emission
        self.normal[patch.index] = patch.normal if normal is None else normal
        self.depth[patch.index] = patch.depth
        self.label[patch.index] = label

    def points(self) -> Array:
        """(n, 3) world position of every sample; the sky's lie far away."""
        rows, cols = np.divmod(np.arange(self.depth.size), self.camera.shape[1])
        x, y = self.camera.rays(rows, cols)
        return np.stack([x * self.depth, y * self.depth + self.camera.eye, self.depth], axis=-1)

    def sky(self) -> Mask:
        return self.depth == FAR

    def plane(self, values: Array) -> Array:
        """(n,) or (n, 3) samples as an image of pixels, the samples of one pixel averaged."""
        return shrink(values.reshape(*self.camera.shape, *values.shape[1:]), self.camera.factor)


@dataclass(frozen=True)
class Lamp:
    """A point light: linear ``colour`` times ``power`` / distance²; a ``hooded`` one shines downwards only."""

    position: tuple[float, float, float]
    colour: tuple[float, float, float]
    power: float
    hooded: bool = False


def lamplight(points: Array, normal: Array, lamps: list[Lamp], wrap: float = 0.15) -> Array:
    """(n, 3) light that falls on ``points`` from ``lamps``; ``wrap`` lets a little round the edge."""
    light = np.zeros_like(points)
    for lamp in lamps:
        towards = np.asarray(lamp.position, np.float32) - points
        square = np.einsum("nk,nk->n", towards, towards)
        cosine = np.einsum("nk,nk->n", towards, normal) / np.sqrt(square + 1e-6)
        falloff = lamp.power * np.clip((cosine + wrap) / (1 + wrap), 0, 1) / (square + 0.5)
        if lamp.hooded:
            falloff *= smoothstep(0.2, 0.8, towards[:, 1] / np.sqrt(square + 1e-6))
        light += falloff[:, None] * np.asarray(lamp.colour, np.float32)
    return light


def sunlight(
    points: Array, normal: Array, sun: Array, rectangles: list[Rectangle], blobs: list[Blob], texture: Array
) -> Array:
    """(n,) direct light in [0, 1] from the direction ``sun`` (3,), a unit vector.

    It is the cosine, cut by the hard shadows of ``rectangles`` and the ones of ``blobs``, which ``texture`` frays.
    """
    light = np.clip(normal @ sun, 0, 1)
    lit = np.flatnonzero(light)
    start = points[lit] + np.float32(0.06) * normal[lit]
    share = np.ones(lit.size, np.float32)
    for origin, edge_u, edge_v in rectangles:
        origin, edge_u, edge_v = (np.asarray(vector, np.float32) for vector in (origin, edge_u, edge_v))
        across = np.cross(edge_u, edge_v)
        reach = (origin - start) @ across / (sun @ across)
        off = start + reach[:, None] * sun - origin
        u, v = off @ edge_u / (edge_u @ edge_u), off @ edge_v / (edge_v @ edge_v)
        share[(reach > 0.12) & (u > 0) & (u < 1) & (v > 0) & (v < 1)] = 0
    ragged = 0.10 * lookup(texture, start[:, 0] + start[:, 1], start[:, 2], 3.5)
    landing = start[:, 0] - start[:, 1] * (
        sun[0] / sun[1]
    )  # x where the ray meets the ground: tells whom to ask
    for centre, radii, leafy in blobs:
        centre, radii = np.asarray(centre, np.float32), np.asarray(radii, np.float32)
        reach_x = 1.2 * radii.max() / sun[1]
        near = np.flatnonzero(np.abs(landing - centre[0] + centre[1] * (sun[0] / sun[1])) < reach_x)
        off, towards = (start[near] - centre) / radii, sun / radii
        reach = -(off @ towards) / (towards @ towards)
        off += reach[:, None] * towards
        miss = np.sqrt(np.einsum("nk,nk->n", off, off)) + leafy * ragged[near]
        share[near] *= 1 - 0.93 * smoothstep(1.04, 0.94, miss) * (reach > 0)
    light[lit] *= share
    return light
