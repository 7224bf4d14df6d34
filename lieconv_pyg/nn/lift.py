from typing import Optional

import torch
from torch import Tensor

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted, lift, lift_frames
from lieconv_pyg.lifting.lift_frames import check_has_frames


class Lift(torch.nn.Module):
    r"""Lifts points to the group, each time anew in training, always alike in
    evaluation (Section 4.1 of `"Generalizing Convolutional Neural Networks for
    Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_).

    Args:
        group (LieGroup): The group.
        num_lifts (int, optional): Lifts :math:`K` of each point. Groups with one lift
            a point take 1 only. (default: :obj:`1`)
        mode (str, optional): :obj:`"haar"`: lifts drawn uniformly in training; in
            evaluation the same :math:`K` well-spread stabilizer elements for every
            point. :obj:`"frames"`: one lift for each principal frame of the example,
            see :func:`~lieconv_pyg.lifting.lift_frames`: then equivariance is exact,
            and :obj:`num_lifts` follows from the frames. (default: :obj:`"haar"`)
        vectors (bool, optional): Whether outputs are vectors, see
            :func:`~lieconv_pyg.lifting.lift_frames`. (default: :obj:`False`)

    Shapes:
        - **input:** points :math:`(N, d)`, batch vector :math:`(N)` *(optional)*
        - **output:** :class:`~lieconv_pyg.lifting.Lifted`
    """

    def __init__(
        self,
        group: LieGroup,
        num_lifts: int = 1,
        mode: str = "haar",
        vectors: bool = False,
    ) -> None:
        super().__init__()
        if mode not in ("haar", "frames"):
            raise ValueError(f"'lift' must be 'haar' or 'frames' (got '{mode}')")
        check_group(group)
        positive(num_lifts, "num_lifts")
        if num_lifts > 1 and mode == "frames":
            raise ValueError(
                "'num_lifts' follows from the frames with 'lift=\"frames\"': leave it "
                f"out (got {num_lifts})"
            )
        if mode == "frames":
            check_has_frames(group)
        if num_lifts > 1 and group.stabilizer_dim == 0:
            raise ValueError(
                f"a point has a single lift to {group}: 'num_lifts' must be 1 "
                f"(got {num_lifts})"
            )
        self.group = group
        self.num_lifts = num_lifts
        self.mode = mode
        self.vectors = vectors

    def forward(
        self,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Lifted:
        r"""Lifts the points; :obj:`generator` draws the lifts in training."""
        if self.mode == "frames":
            return lift_frames(self.group, pos, batch, vectors=self.vectors)
        return lift(
            self.group,
            pos,
            batch,
            self.num_lifts,
            fixed=not self.training,
            generator=generator,
        )

    def __repr__(self) -> str:
        lifts = "frames" if self.mode == "frames" else f"num_lifts={self.num_lifts}"
        return f"{self.__class__.__name__}({self.group}, {lifts})"
