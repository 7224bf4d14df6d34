"""Images on a grid of pixels, some of which may be missing."""

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from lieconv_pyg.images import rotate_images


class PixelGrid(NamedTuple):
    """Where points of the plane are in an image of :obj:`height` by :obj:`width`
    pixels, counted row by row."""

    pixel: Tensor
    height: int
    width: int

    @classmethod
    def of(cls, pos: Tensor) -> Optional["PixelGrid"]:
        """The smallest image whose pixels are at the points :math:`(n, 2)`; none if
        they are no part of a square grid."""
        rounding = 4 * torch.finfo(pos.dtype).eps * float(pos.abs().max())
        pos = pos.double()
        steps = pos.sort(0).values.diff(dim=0)
        steps = steps[steps > max(1e-4 * float(steps.sum(0).max()), rounding)]
        if pos.size(1) != 2 or steps.numel() == 0:
            return None
        # Each step has an error, and its sum over the image has none.
        step = steps[steps < 1.5 * steps.min()].mean()
        extent = (pos.max(0).values - pos.min(0).values).max()
        step = extent / (extent / step).round()
        place = (pos - pos.min(0).values) / step
        whole = place.round()
        if (place - whole).abs().max() > max(1e-2, rounding / float(step)):
            return None
        height, width = (int(n) + 1 for n in whole.max(0).values)
        pixel = (whole[:, 0] * width + whole[:, 1]).long()
        if pixel.unique().numel() < len(pos) or height * width > 8 * len(pos):
            return None
        return cls(pixel, height, width)

    def rotate(self, x: Tensor, angle: Tensor) -> Tensor:
        r"""Rotates images about the middle of the grid, see
        :func:`~lieconv_pyg.images.rotate_images`: interpolates between the pixels that
        are there, and gives 0 where there are none.

        Args:
            x: Values :math:`(B, n, C)`.
            angle: Angles :math:`(B)` in radians.
        """
        size, _, channels = x.shape
        images = x.new_zeros(size, channels + 1, self.height * self.width)
        images[:, :-1, self.pixel] = x.transpose(1, 2)
        images[:, -1, self.pixel] = 1
        images = images.unflatten(2, (self.height, self.width))
        turned = rotate_images(images, angle.to(x.dtype)).flatten(2)[..., self.pixel]
        share = turned[:, -1:]
        known = share > 1e-3
        out = torch.where(known, turned[:, :-1] / share.where(known, 1), 0)
        return out.transpose(1, 2)
