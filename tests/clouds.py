"""Groups and random point clouds for tests of lifting and neighbors."""

import torch
from torch import Tensor

from lieconv_pyg.groups import (
    SE2,
    SE3,
    SIM2,
    SO2,
    SO3,
    SQ,
    Galilei,
    LieGroup,
    Lorentz,
    Rx,
    RxSO2,
    RxSQ,
    T,
    Trivial,
    Tx,
    Ty,
)
from lieconv_pyg.lifting import Lifted, lift


class NoBound(T):
    """A group without a Euclidean lower bound of its distance."""

    def embed(self, u, q, radius=None):
        return None


GROUPS = [
    Trivial(2),
    Trivial(3),
    T(2),
    T(3),
    Tx(),
    Ty(),
    SO2(),
    RxSO2(),
    Rx(),
    SQ(),
    RxSQ(),
    SE2(),
    SIM2(),
    Galilei(2),
    SO3(),
    SE3(),
    SE3(alpha=0.7),
    Lorentz(beta=0.3),
    NoBound(2),
]
DTYPES = [torch.float32, torch.float64]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(
    group: LieGroup, num_points: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Normal points that the group can lift; momenta of normal logarithms of masses."""
    pos = torch.randn(
        num_points, group.space_dim, generator=generator(seed), dtype=torch.float64
    )
    if type(group) in (SQ, RxSQ):
        pos = (pos / 2).exp()
    if isinstance(group, Lorentz):
        mass, vector = (pos[:, :1] / 2).exp(), pos[:, 1:]
        energy = (mass**2 + vector.square().sum(1, keepdim=True)).sqrt()
        pos = torch.cat([energy, vector], dim=1)
    return pos.to(dtype)


def ragged_batch(*sizes: int) -> Tensor:
    return torch.repeat_interleave(torch.tensor(sizes))


def lifts(group: LieGroup) -> int:
    return 3 if group.stabilizer_dim > 0 else 1


def lifted_cloud(
    group: LieGroup,
    sizes: tuple[int, ...] = (23, 1, 40, 2),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Lifted:
    """A ragged batch with a few coincident points, and several lifts a point."""
    pos = cloud(group, sum(sizes), seed, dtype)
    pos[1:3] = pos[0]
    pos[30] = pos[29]
    return lift(
        group, pos, ragged_batch(*sizes), lifts(group), generator=generator(seed + 1)
    )


def moved(group: LieGroup, lifted: Lifted, seed: int = 7) -> Lifted:
    """All lifted points moved by one group element."""
    g = group.sample(generator=generator(seed), dtype=lifted.element.dtype)
    return lifted._replace(element=group.compose(g, lifted.element))


def all_distances(
    group: LieGroup, src: Lifted, dst: Lifted | None = None
) -> tuple[Tensor, Tensor]:
    """Distances of all targets (rows) to all sources, and which pairs are within a
    component."""
    dst = src if dst is None else dst
    pairs = group.pairs(
        dst.element[:, None], dst.orbit[:, None], src.element[None], src.orbit[None]
    )
    return group.distance(pairs), dst.component[:, None] == src.component[None]
