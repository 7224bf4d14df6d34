"""Pairs of lifted points."""

from typing import NamedTuple

from torch import Tensor
from torch.utils._pytree import _register_namedtuple

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.lifting.lifted import Lifted


class Neighborhood(NamedTuple):
    r"""A graph over lifted points, with what a convolution needs of it.

    Shapes:
        - **edge_index:** :math:`(2, E)`; row 0 is the source :math:`j`, row 1
          the target :math:`i`; sorted by target, then by source
        - **edge_attr:** pair coordinates :math:`a_{ij} = [\log(v_j^{-1} u_i),
          q_i, q_j]`, :math:`(E, \dim G + 2 \dim q)`
        - **distance:** group distances :math:`d(i, j)`, :math:`(E,)`
        - **edge_weight:** weights of the envelope, :math:`(E,)`, or
          :obj:`None` where there is no envelope
    """

    edge_index: Tensor
    edge_attr: Tensor
    distance: Tensor
    edge_weight: Tensor | None = None

    def select(self, index: Tensor) -> "Neighborhood":
        r"""Returns the edges at :obj:`index`, a sorted index vector."""
        weight = self.edge_weight
        return Neighborhood(
            self.edge_index.index_select(1, index),
            self.edge_attr.index_select(0, index),
            self.distance.index_select(0, index),
            None if weight is None else weight.index_select(0, index),
        )


_register_namedtuple(
    Neighborhood, serialized_type_name="lieconv_pyg.neighbors.Neighborhood"
)


def pair_coordinates(
    group: LieGroup, src: Lifted, dst: Lifted, edge_index: Tensor
) -> Tensor:
    r"""Computes the coordinates of pairs of lifted points.

    .. math::
        a_{ij} = \left[ \log(v_j^{-1} u_i), q_i, q_j \right],

    which do not change when one group element acts on both points.
    Differentiable with respect to elements and orbit labels.

    Args:
        group (LieGroup): The group.
        src (Lifted): The sources :math:`j`.
        dst (Lifted): The targets :math:`i`.
        edge_index (torch.Tensor): The pairs :math:`(2, E)`, sources first.

    Shapes:
        - **output:** :math:`(E, \dim G + 2 \dim q)`
    """
    j, i = edge_index[0], edge_index[1]
    return group.indexed_pairs(dst.element, dst.orbit, i, src.element, src.orbit, j)
