"""Files of images: MNIST's own format, and the tables of its variations."""

from __future__ import annotations

import gzip
import math
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lieconv_pyg.datasets.structures import first_line

_SIDE = 28  # pixels of the images in a table


def read_idx(path: str | os.PathLike) -> Tensor:
    r"""Reads a file of MNIST, :obj:`train-images-idx3-ubyte` and the like, compressed
    if its name ends in :obj:`.gz`.

    Args:
        path (path): The file.

    Returns:
        A uint8 tensor of the shape that the file states: images (N, H, W) or labels
        (N).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or not whole.
    """
    path = _existing(path)
    content = _uncompressed(path) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4:
        raise ValueError(f"{path} is empty or cut off: it has {len(content)} bytes")
    zeros, kind, num_dims = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != 8 or num_dims == 0:
        raise ValueError(
            f"{path} is no idx file of bytes: it begins with {content[:4].hex(' ')}, "
            "not with 00 00 08 and the number of dimensions"
        )
    start = 4 + 4 * num_dims
    if len(content) < start:
        raise ValueError(f"{path} is cut off: it ends within its sizes")
    shape = struct.unpack(f">{num_dims}I", content[4:start])
    there, expected = len(content) - start, math.prod(shape)
    if there != expected:
        what = "is cut off" if there < expected else "is too long"
        raise ValueError(
            f"{path} {what}: it states the shape {shape}, {expected} bytes, and has "
            f"{there}"
        )
    values = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    return torch.from_numpy(values.copy())


def read_amat(path: str | os.PathLike) -> tuple[Tensor, Tensor]:
    r"""Reads a table of images of 28 by 28 pixels, one a row: 784 values, row of pixels
    by row of pixels, and a label from 0 to 9.

    Args:
        path (path): The file.

    Returns:
        The images, (N, 28, 28) in float32, and the labels (N), of type long.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such table.
    """
    path = _existing(path)
    columns = _SIDE**2 + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of no data
            table = np.loadtxt(path, dtype=np.float32, ndmin=2, comments=None)
    except ValueError as error:
        raise ValueError(
            f"{path} is no table of {columns} columns of numbers ({first_line(error)})"
        ) from error
    if not len(table):
        raise ValueError(f"{path} is empty")
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() not in (b"\n", b"\r"):
            raise ValueError(f"{path} is cut off: its last line has no end")
    if table.shape[1] != columns:
        raise ValueError(
            f"{path} has {table.shape[1]} columns, not {_SIDE**2} pixels and a label"
        )
    wrong = ~np.isfinite(table).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"{path} has NaN or infinite values, first in row {wrong.argmax()}"
        )
    labels = table[:, -1]
    wrong = ~np.isin(labels, np.arange(10))
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"{path} has the label {labels[row]:g} in row {row}: labels are the whole "
            "numbers from 0 to 9"
        )
    images = torch.from_numpy(table[:, :-1]).reshape(-1, _SIDE, _SIDE)
    return images, torch.from_numpy(labels.astype(np.int64))


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"images: there is no file {path}")
    return path


def _uncompressed(path: Path) -> bytes:
    """What is in a file of gzip."""
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except gzip.BadGzipFile as error:
        raise ValueError(
            f"{path} is no whole gzip file ({first_line(error)}): if it is not "
            "compressed, take .gz off its name"
        ) from error
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({first_line(error)})") from (
            error
        )
