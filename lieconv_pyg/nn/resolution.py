"""What a block of a network works on."""

from typing import NamedTuple, Optional

from torch import Tensor

from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import Neighborhood
from lieconv_pyg.nn.tiles import Tiling, lifted_tiling


class Resolution(NamedTuple):
    """What a block works on: the points, their neighbours, which are kept, and how
    the edges are laid out (see :mod:`lieconv_pyg.nn.tiles`)."""

    lifted: Lifted
    graph: Neighborhood
    keep: Optional[Tensor] = None
    tiling: Optional[Tiling] = None


def make_resolution(
    source: Lifted, target: Lifted, graph: Neighborhood, keep: Optional[Tensor] = None
) -> Resolution:
    """A resolution with the tiling of its graph."""
    tiling = lifted_tiling(graph.edge_index, source, target)
    return Resolution(source, graph, keep, tiling)
