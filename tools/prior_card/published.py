"""FDnCNN and FFDNet of Zhang et al. from their authors' files, to stand beside a prior of one channel.

Both are stacks of 3x3 convolutions that are told the noise level by one more channel, a map of sigma / 255. FDnCNN
(in the repository of "Beyond a Gaussian Denoiser", 2017) takes and gives images, FFDNet (2018) the four sub-images of
every second pixel.
"""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from scipy.io.matlab import MatReadError
from torch import Tensor

MATLAB_ORDER = [0, 2, 1, 3]  # of the sub-images, column by column, in that of pixel_unshuffle, row by row
HDF5_MAGIC = b"MATLAB 7.3"
UNREADABLE = (OSError, LookupError, AttributeError, TypeError, ValueError, MatReadError, zlib.error)
KINDS = {2: (1, 1), 5: (2, 4)}  # channels of the first layer -> side of the patches, channels of the last


@dataclass(frozen=True)
class PublishedDenoiser:
    """``layers``: kernels (O, I, 3, 3) and biases (O,), ReLU between them; images go in and out in [0, 1]."""

    layers: list[tuple[Tensor, Tensor]]

    @torch.no_grad()
    def __call__(self, noisy: np.ndarray, sigma: float) -> np.ndarray:
        """(H, W, 1) float of range 255 -> the same without its noise; sides multiples of 2 for FFDNet."""
        side, _ = KINDS[self.layers[0][0].shape[1]]
        h = F.pixel_unshuffle(torch.from_numpy(noisy / 255.0).float().permute(2, 0, 1)[None], side)
        h = torch.cat([h, torch.full_like(h[:, :1], sigma / 255.0)], dim=1)
        for index, (weight, bias) in enumerate(self.layers):
            h = F.conv2d(F.relu(h) if index else h, weight, bias, padding=1)
        return 255.0 * F.pixel_shuffle(h, side)[0].permute(1, 2, 0).double().numpy()


def load_published(path: Path) -> PublishedDenoiser:
    """A network that MatConvNet saved (``net.layers``), of either kind.

    Raises ValueError, naming the file, for another network, for no such file, and where h5py lacks that MATLAB's
    newer files need.
    """
    try:
        with path.open("rb") as stream:
            newer = stream.read(len(HDF5_MAGIC)) == HDF5_MAGIC
        if newer and importlib.util.find_spec("h5py") is None:
            raise ValueError("a file of MATLAB 7.3, which needs the package h5py: pip install h5py")
        arrays = list(_read_hdf5(path) if newer else _read_old(path))
    except UNREADABLE as error:
        raise ValueError(f"{path}: no network that MatConvNet saved ({error})") from error
    layers = [(_kernel(weight), torch.from_numpy(bias.astype(np.float32).ravel())) for weight, bias in arrays]
    inputs = [weight.shape[1] for weight, _ in layers]
    outputs = [len(weight) for weight, _ in layers]
    if (
        any(weight.shape[2:] != (3, 3) or len(bias) != len(weight) for weight, bias in layers)
        or len(layers) < 2
        or inputs[1:] != outputs[:-1]
        or KINDS.get(inputs[0], (0, 0))[1] != outputs[-1]
    ):
        raise ValueError(f"{path}: neither FDnCNN nor FFDNet for grey images")
    if inputs[0] == 5:
        (first, first_bias), (last, last_bias) = layers[0], layers[-1]
        layers[0] = (first[:, [*MATLAB_ORDER, 4]], first_bias)
        layers[-1] = (last[MATLAB_ORDER], last_bias[MATLAB_ORDER])
    return PublishedDenoiser(layers)


def _kernel(weight: np.ndarray) -> Tensor:
    """MATLAB's (H, W, I, O), whose last axes are left out where they are 1, as (O, I, H, W)."""
    whole = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
    return torch.from_numpy(np.ascontiguousarray(whole.transpose(3, 2, 0, 1), np.float32))


def _read_old(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases of every convolution, with the axes of MATLAB."""
    net = scipy.io.loadmat(str(path), squeeze_me=True, struct_as_record=False)["net"]
    for layer in np.atleast_1d(net.layers):
        if layer.type == "conv":
            weight, bias = layer.weights
            yield weight, np.asarray(bias)


def _read_hdf5(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same of a file that holds every array with its axes the other way round."""
    h5py: Any = importlib.import_module("h5py")
    with h5py.File(path) as file:
        for reference in file["net/layers"][:].ravel():
            layer = file[reference]
            if "".join(map(chr, layer["type"][:].ravel())) == "conv":
                weight, bias = (file[part][:] for part in layer["weights"][:].ravel())
                yield weight.T, bias
