"""Rotated digits of 8 by 8 pixels, which come with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch_geometric.data import Data

from lieconv_pyg.datasets.rotmnist import (
    PointImages,
    check_arguments,
    draw,
    point_values,
)
from lieconv_pyg.images import ImageToPoints

_SIZES = (1297, 500)


class RotDigits(PointImages):
    r"""The 1,797 handwritten digits of :func:`sklearn.datasets.load_digits`, 8 by 8
    pixels with values from 0 to 1, rotated by angles that are uniform in
    :math:`[0, 2 \pi)`: a small relative of
    :class:`~lieconv_pyg.datasets.RotMNIST`, without files.

    In random order, the first 1,297 are for training and the last 500 for testing. Of
    the 64 pixels 44 are points by default.

    Args:
        train (bool, optional): Whether to take the training or the test digits.
            (default: :obj:`True`)
        rotated (bool, optional): If set to :obj:`False`, will leave the same digits
            upright. (default: :obj:`True`)
        seed (int, optional): Other numbers, another order and other angles.
            (default: :obj:`0`)
        to_points (ImageToPoints, optional): Makes the points. (default:
            :obj:`ImageToPoints(mean=0.305, std=0.376)`, of the digits upright)
        transform (callable, optional): Applied to an item when it is taken.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ImportError: If scikit-learn is not installed.
    """

    source = "scikit-learn"
    image_size = (8, 8)

    def __init__(
        self,
        train: bool = True,
        rotated: bool = True,
        seed: int = 0,
        to_points: ImageToPoints | None = None,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        if to_points is None:
            to_points = ImageToPoints(mean=0.305, std=0.376)
        check_arguments(train, rotated, seed, to_points)
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError(
                "RotDigits are from scikit-learn, which is not installed: pip install "
                '"lieconv_pyg[images]"'
            ) from error
        self.train, self.rotated, self.seed = train, rotated, seed
        super().__init__(None, to_points, transform)
        digits = load_digits()
        index, angle = draw(len(digits.target), _SIZES, train, seed)
        angle = angle if rotated else torch.zeros_like(angle)
        images = torch.from_numpy(digits.images)[index].float() / 16
        y = torch.from_numpy(digits.target)[index].long()
        self.hold(point_values(images, angle, to_points), y, angle)
