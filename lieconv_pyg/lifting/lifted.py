"""Lifted points."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import _register_namedtuple


class Lifted(NamedTuple):
    r"""Points lifted to a group: pairs :math:`(u, q)` of a group element and
    an orbit label, with :math:`u \cdot o_q = x`, from Section 4.1 of
    `"Generalizing Convolutional Neural Networks for Equivariance to Lie
    Groups on Arbitrary Continuous Data" <https://arxiv.org/abs/2002.12880>`_.

    A named tuple of tensors, hence a pytree: it passes through
    :func:`torch.compile`, :func:`torch.export` and
    :class:`torch_geometric.nn.Sequential` as it is.

    Shapes:
        - **element:** group elements :math:`u`, :math:`(M, m, m)`
        - **orbit:** orbit labels :math:`q`, :math:`(M, \dim q)`, with
          :math:`\dim q = 0` where the group acts transitively
        - **batch:** the example of each lifted point, :math:`(M,)`,
          non-decreasing
        - **point:** the point that each lifted point came from, :math:`(M,)`
        - **component:** :math:`(M,)`, non-decreasing. Neighbors are searched
          within a component only. It equals ``batch``, except with frames,
          where each (example, frame) is a component of its own.
    """

    element: Tensor
    orbit: Tensor
    batch: Tensor
    point: Tensor
    component: Tensor

    @property
    def num_points(self) -> int:
        r"""The number :math:`M` of lifted points."""
        return self.element.size(0)

    @property
    def requires_grad(self) -> bool:
        r"""Whether elements or orbit labels are part of an autograd graph."""
        return self.element.requires_grad or self.orbit.requires_grad

    def select(self, index: Tensor) -> "Lifted":
        r"""Returns the lifted points at :obj:`index`, a sorted index vector
        (so that ``batch`` and ``component`` stay non-decreasing) or a
        boolean mask.

        ``point`` still refers to the points of the original cloud.
        """
        if index.dtype == torch.bool:
            index = index.nonzero().view(-1)
        return Lifted(*(value.index_select(0, index) for value in self))

    def detach(self) -> "Lifted":
        r"""Returns the same lifted points cut from the autograd graph."""
        return Lifted(*(value.detach() for value in self))

    def to(
        self,
        target: torch.device | torch.dtype | str,
        non_blocking: bool = False,
    ) -> "Lifted":
        r"""Moves all tensors to a device, or casts elements and orbit labels
        to a floating-point type (index tensors keep theirs).
        """
        if isinstance(target, torch.dtype):
            if not target.is_floating_point:
                raise TypeError(
                    f"'target' must be a device or a floating-point dtype, got {target}"
                )
            return self._replace(
                element=self.element.to(target), orbit=self.orbit.to(target)
            )
        return Lifted(*(v.to(target, non_blocking=non_blocking) for v in self))


# So that exported programs that take lifted points can be saved and loaded.
torch.serialization.add_safe_globals([Lifted])
_register_namedtuple(Lifted, serialized_type_name="lieconv_pyg.lifting.Lifted")
