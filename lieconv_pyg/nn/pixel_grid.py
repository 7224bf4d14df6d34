"""Images on a grid of pixels, some of which may be missing."""

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from lieconv_pyg.groups import SO2
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
        pos = pos.double()
        steps = pos.sort(0).values.diff(dim=0)
        scale = pos.abs().max()
        steps = steps[steps > 1e-4 * scale]
        if pos.size(1) != 2 or steps.numel() == 0:
            return None
        place = (pos - pos.min(0).values) / steps.min()
        whole = place.round()
        if (place - whole).abs().max() > 1e-2:
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


def rotate_pixels(pos: Tensor, x: Tensor, rotation: Tensor) -> Tensor:
    r"""Rotates images :math:`(B, n, C)` whose pixels are at points :math:`(n, 2)` by
    elements :math:`(B, 2, 2)` of SO(2).

    Raises:
        ValueError: If the points are no pixels.
    """
    grid = PixelGrid.of(pos)
    if grid is None:
        raise ValueError(
            "'augment' rotates images on a square grid of pixels, and the points that "
            "all examples share are none: set augment=False"
        )
    return grid.rotate(x, SO2().log(rotation).squeeze(-1))
