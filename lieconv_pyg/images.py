"""Images as sets of points, which are their pixels, and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from lieconv_pyg.groups.checks import positive


def image_points(
    height: int,
    width: int,
    spacing: float | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Coordinates of the pixels of an image, row by row: first the coordinate along
    the rows' index, then that along the columns'. The middle of the image is 0.

    Pixels are square. By default those of an image of :math:`n` by :math:`n` are
    :math:`n / (n - 1)` apart, so that each coordinate runs from :math:`-n/2` to
    :math:`n/2`, as in the published experiment; where an image is not square,
    :math:`n` is its longer side.

    Args:
        height (int): Number of rows.
        width (int): Number of columns.
        spacing (float, optional): Distance of neighbouring pixels.
            (default: as published)
        dtype (torch.dtype, optional): Floating-point type. (default: torch's)

    Returns:
        A tensor of shape :math:`(H W, 2)`.

    Raises:
        TypeError: If a number is of the wrong kind.
        ValueError: If one is not positive.
    """
    longer = max(positive(height, "height"), positive(width, "width"))
    if spacing is None:
        spacing = longer / max(longer - 1, 1)
    _check_positive(spacing, "spacing")
    rows, columns = (
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * spacing
        for n in (height, width)
    )
    return torch.cartesian_prod(rows, columns).to(dtype or torch.get_default_dtype())


def rotate_images(images: Tensor, angle: Tensor) -> Tensor:
    r"""Rotates images about their middle, with bilinear interpolation and zeros from
    outside.

    As a function :math:`f` on the plane of :func:`image_points`, an image becomes
    :math:`f(R_\theta^{-1} x)`: what is at :math:`p` moves to :math:`R_\theta p`, where
    :math:`R_\theta` is the element of :class:`~lieconv_pyg.groups.SO2` with this angle.
    So a quarter turn takes rows to columns, :obj:`torch.rot90(images, 1, (-2, -1))`.
    Images have the same size before and after, square or not.

    Args:
        images (torch.Tensor): float32 or float64.
        angle (torch.Tensor): Angles in radians, floating point.

    Shapes:
        - **images:** :math:`(B, C, H, W)`
        - **angle:** :math:`(B)`
        - **output:** :math:`(B, C, H, W)`

    Raises:
        TypeError: If :obj:`images` or :obj:`angle` is no tensor of such a type.
        ValueError: If a shape is wrong, or images have no pixels.
    """
    _check_images(images, "(B, C, H, W)")
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"'images' must be float32 or float64, got {images.dtype}")
    if not isinstance(angle, Tensor) or not angle.is_floating_point():
        kind = angle.dtype if isinstance(angle, Tensor) else type(angle).__name__
        raise TypeError(f"'angle' must be a floating-point tensor, got {kind}")
    num, _, height, width = images.shape
    if angle.shape != (num,):
        raise ValueError(
            f"'angle' must have shape ({num},), one angle for each image, got "
            f"{tuple(angle.shape)}"
        )
    # Offsets from the middle, in pixels; a side reaches from -1 to 1 in grid_sample.
    # No matrix product, which could be in reduced precision.
    offsets = image_points(height, width, 1.0).view(height, width, 2).to(images)
    row, column = offsets.unbind(-1)
    c, s = (f(angle)[:, None, None].to(images) for f in (torch.cos, torch.sin))
    grid = torch.stack(
        [(c * column - s * row) * (2 / width), (s * column + c * row) * (2 / height)],
        dim=-1,
    )
    return grid_sample(images, grid, padding_mode="zeros", align_corners=False)


class ImageToPoints(BaseTransform):
    r"""Turns an image into the set of its pixels: :obj:`x` :math:`(n, C)` and
    :obj:`pos` :math:`(n, 2)`, see :func:`image_points`.

    It takes a tensor :math:`(C, H, W)` or :math:`(H, W)`, or a
    :class:`~torch_geometric.data.Data` object whose :obj:`x` is one and whose other
    attributes are kept. Values of type uint8 are divided by 255.

    Args:
        crop (float, optional): Keeps the pixels whose centre is nearer to the middle
            than :obj:`crop` times the distance from the middle to the outermost row,
            which takes off the corners of a square image; :obj:`None` keeps all, of an
            image of any shape. (default: :obj:`15 / 14`, by which 648 of 28 by 28
            pixels are kept, as published)
        spacing (float, optional): Distance of neighbouring pixels, see
            :func:`image_points`. (default: as published)
        mean (float or sequence of float, optional): Subtracted from the values, the
            same for all or one for each channel.
        std (float or sequence of float, optional): Divides them then.

    Raises:
        TypeError: If an argument is not of such a type.
        ValueError: If one is out of range.
    """

    def __init__(
        self,
        crop: float | None = 15 / 14,
        spacing: float | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        self.crop = None if crop is None else _check_positive(crop, "crop")
        self.spacing = None if spacing is None else _check_positive(spacing, "spacing")
        self.mean = _per_channel(mean, "mean")
        self.std = _per_channel(std, "std")
        for value in self.std if isinstance(self.std, tuple) else (self.std,):
            if value is not None:
                _check_positive(value, "std")

    def mask(self, height: int, width: int) -> Tensor:
        r"""Which pixels are kept, :math:`(H, W)`.

        Raises:
            ValueError: If none is, or the image is not square but cropped.
        """
        points = image_points(height, width, 2.0, torch.float64)  # whole numbers
        if self.crop is None:
            return points.new_ones(height, width, dtype=torch.bool)
        if height != width:
            raise ValueError(
                f"an image of {height} by {width} pixels is not square: pad it with "
                "zeros to a square, or set crop=None to keep all its pixels"
            )
        limit = self.crop * max(height - 1, 1)
        mask = (points.square().sum(-1) < limit**2).view(height, width)
        if not mask.any():
            raise ValueError(
                f"crop={self.crop:g} leaves none of {height} by {width} pixels: take a "
                "larger one"
            )
        return mask

    def points(
        self, height: int, width: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        r"""Coordinates of the pixels that are kept, :math:`(n, 2)`."""
        points = image_points(height, width, self.spacing, dtype)
        return points[self.mask(height, width).flatten()]

    def __call__(self, data: Any) -> Data:
        r"""Returns the points of an image, and leaves :obj:`data` as it is."""
        # A copy of a tensor would have no gradient.
        return self.forward(data if isinstance(data, Tensor) else copy.copy(data))

    def forward(self, data: Tensor | Data) -> Data:
        r"""Returns the points of an image.

        Raises:
            TypeError: If :obj:`data` is neither an image nor has one.
            ValueError: If the image has no pixels, a wrong number of dimensions or
                channels, values that are not finite, or is not square but cropped.
        """
        if isinstance(data, Batch):
            raise TypeError(
                "images of a batch are not told apart: pass them as a tensor (B, C, H, "
                "W) to ImageToPoints.batch"
            )
        image = data.x if isinstance(data, Data) else data
        _check_images(image, "(C, H, W)", "(H, W)")
        image = image if image.dim() == 3 else image.unsqueeze(0)
        height, width = image.shape[-2:]
        out = data if isinstance(data, Data) else Data()
        out.x = self._values(image.unsqueeze(0)).squeeze(0)
        out.pos = self.points(height, width, out.x.dtype).to(out.x.device)
        return out

    def batch(self, images: Tensor, y: Tensor | None = None) -> Batch:
        r"""Returns the points of many images of one size, the same as
        :meth:`torch_geometric.data.Batch.from_data_list` makes of single ones.

        Args:
            images (torch.Tensor): The images.
            y (torch.Tensor, optional): Their labels.

        Shapes:
            - **images:** :math:`(B, C, H, W)`
            - **y:** :math:`(B, *)`

        Raises:
            TypeError: If the images are no tensor of such a type.
            ValueError: As for single ones, or if there are not as many labels.
        """
        _check_images(images, "(B, C, H, W)")
        num, _, height, width = images.shape
        if y is not None and (y.dim() == 0 or len(y) != num):
            raise ValueError(
                f"'y' must have a row for each of {num} images, got {tuple(y.shape)}"
            )
        x = self._values(images)
        size, device = x.size(1), x.device
        pos = self.points(height, width, x.dtype).to(device)
        index = torch.arange(num, device=device)
        batch = Batch(
            x=x.flatten(0, 1),
            pos=pos.repeat(num, 1),
            batch=index.repeat_interleave(size),
            ptr=size * torch.arange(num + 1, device=device),
        )
        rows = torch.arange(num + 1)
        slices = {"x": size * rows, "pos": size * rows}
        if y is not None:
            batch.y, slices["y"] = y, rows
        batch._num_graphs, batch._slice_dict = num, slices
        batch._inc_dict = {key: torch.zeros_like(rows[1:]) for key in slices}
        return batch

    def to_image(self, values: Tensor, height: int, width: int) -> Tensor:
        r"""Puts values of points back where their pixels are, as they are, and 0 where
        none was kept.

        Args:
            values (torch.Tensor): Values of the points of one image or of several.
            height (int): Number of rows.
            width (int): Number of columns.

        Shapes:
            - **values:** :math:`(*, n, C)`
            - **output:** :math:`(*, C, H, W)`

        Raises:
            ValueError: If there are not as many values as pixels are kept.
        """
        mask = self.mask(height, width).flatten()
        size = int(mask.sum())
        if values.dim() < 2 or values.size(-2) != size:
            raise ValueError(
                f"'values' must have the shape (*, {size}, C) for {height} by {width} "
                f"pixels, got {tuple(values.shape)}"
            )
        values = values.transpose(-1, -2)
        out = values.new_zeros(*values.shape[:-1], height * width)
        out[..., mask.to(values.device)] = values
        return out.unflatten(-1, (height, width))

    def _values(self, images: Tensor) -> Tensor:
        """The values of images (B, C, H, W) where pixels are kept, (B, n, C)."""
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif images.is_floating_point():
            images = images if images.dtype == torch.float64 else images.float()
        else:
            raise TypeError(
                "an image must be floating point, or uint8 from 0 to 255, got "
                f"{images.dtype}"
            )
        if not images.isfinite().all():
            raise ValueError("an image has NaN or infinite values")
        mask = self.mask(*images.shape[-2:]).flatten().to(images.device)
        x = images.flatten(2)[..., mask].transpose(1, 2).contiguous()
        for name in ("mean", "std"):
            values = getattr(self, name)
            if isinstance(values, tuple) and len(values) != x.size(2):
                raise ValueError(
                    f"'{name}' has {len(values)} values, and the image {x.size(2)} "
                    "channels: give one for each, or a single number"
                )
            if values is not None:
                number = torch.tensor(values, dtype=x.dtype, device=x.device)
                x = x - number if name == "mean" else x / number
        return x

    def __repr__(self) -> str:
        names = ("crop", "spacing", "mean", "std")
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__name__}({values})"


def _check_images(images: Any, *shapes: str) -> None:
    """That images are a tensor with as many dimensions as one of the shapes says."""
    expected = " or ".join(shapes)
    if not isinstance(images, Tensor):
        raise TypeError(
            f"expected a tensor {expected} of pixels, got {type(images).__name__}"
        )
    if images.dim() not in [shape.count(",") + 1 for shape in shapes]:
        raise ValueError(
            f"expected pixels of shape {expected}, got {tuple(images.shape)}"
        )
    if images.numel() == 0:
        raise ValueError(f"there are no pixels in shape {tuple(images.shape)}")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"'{name}' must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"'{name}' must be finite, got {value}")
    return float(value)


def _check_positive(value: Any, name: str) -> float:
    if _number(value, name) <= 0:
        raise ValueError(f"'{name}' must be positive, got {value}")
    return float(value)


def _per_channel(values: Any, name: str) -> float | tuple[float, ...] | None:
    if values is None:
        return None
    if isinstance(values, Tensor):
        values = values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return tuple(_number(value, name) for value in values)
    return _number(values, name)
