"""The groups and the elements that the tests of this folder run over."""

import math

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
    MatrixLieGroup,
    Rx,
    RxSO2,
    RxSQ,
    Subgroup,
    T,
    Trivial,
    Tx,
    Ty,
)

CLOSED_FORM: list[LieGroup] = [
    Trivial(2),
    Trivial(3),
    T(1),
    T(2),
    T(3, alpha=0.7),
    Tx(),
    Ty(n=3),
    T(3).subgroup((2, 0)),
    SO2(),
    RxSO2(alpha=0.3),
    Rx(),
    RxSO2().subgroup((1,)),
    SQ(),
    RxSQ(),
    SE2(alpha=0.05),
    SIM2(alpha=0.3, window=1.0),
    SO3(),
    SE3(),
    Lorentz(),
    Galilei(1),
    Galilei(2, alpha=0.6),
    Galilei(3),
]


def matrices(*entries: tuple[tuple[int, int, float], ...], size: int) -> Tensor:
    """Generators from lists of (row, column, value)."""
    out = torch.zeros(len(entries), size, size, dtype=torch.float64)
    for k, values in enumerate(entries):
        for row, column, value in values:
            out[k, row, column] = value
    return out


SO21 = matrices(((0, 1, -1.0), (1, 0, 1.0)), size=2)
HEISENBERG = matrices(((0, 1, 1.0),), ((1, 2, 1.0),), ((0, 2, 1.0),), size=3)
SL2 = matrices(((0, 0, 1.0), (1, 1, -1.0)), ((0, 1, 1.0),), ((1, 0, 1.0),), size=2)
LORENTZ = matrices(
    ((0, 1, 1.0), (1, 0, 1.0)),
    ((0, 2, 1.0), (2, 0, 1.0)),
    ((0, 3, 1.0), (3, 0, 1.0)),
    ((2, 3, -1.0), (3, 2, 1.0)),
    ((1, 3, 1.0), (3, 1, -1.0)),
    ((1, 2, -1.0), (2, 1, 1.0)),
    size=4,
)
MATRIX: dict[str, MatrixLieGroup] = {
    "so(2)": MatrixLieGroup(SO21),
    "so(3)": MatrixLieGroup(SO3().generators(torch.float64)),
    "se(2)": MatrixLieGroup(SE2().generators(torch.float64), space_dim=2),
    "Heisenberg": MatrixLieGroup(HEISENBERG),
    "sl(2)": MatrixLieGroup(SL2),
    "so(1,3)": MatrixLieGroup(LORENTZ),
}


def whole(group: LieGroup) -> LieGroup:
    """The group that a subgroup was taken from."""
    return group.group if isinstance(group, Subgroup) else group


def angle_indices(group: LieGroup) -> list[int]:
    """The algebra coordinates that form a rotation vector, if any."""
    if isinstance(group, (SO2, SE2)):
        return [0]
    if isinstance(group, (SO3, SE3)):
        return [0, 1, 2]
    if isinstance(group, Lorentz):
        return [3, 4, 5]
    if isinstance(group, (RxSO2, SIM2)):
        return [1]
    if group == RxSO2().subgroup((1,)):
        return [0]
    return []


def algebra(
    group: LieGroup, num: int, angle: float, size: float = 1.0, seed: int = 0
) -> Tensor:
    """Float64 algebra vectors with a rotation angle up to `angle` (exactly that in the
    first half) and normal coordinates of standard deviation `size` otherwise."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(num, group.dim, generator=generator, dtype=torch.float64)
    a = size * normal
    index = angle_indices(group)
    if index:
        axis = normal[:, index] / normal[:, index].norm(dim=-1, keepdim=True)
        share = torch.rand(num, 1, generator=generator, dtype=torch.float64)
        share[: num // 2] = 1.0
        a[:, index] = angle * share * axis
    return a


def kinds(group: LieGroup) -> dict[str, Tensor]:
    """Random, near-identity and near-pi algebra vectors in float64."""
    out = {
        "random": algebra(group, 40, 3.0),
        "tiny": torch.cat(
            [algebra(group, 20, size, size, seed=1) for size in (1e-8, 1e-7)]
        ),
    }
    if angle_indices(group):
        for gap in (1e-8, 1e-7, 1e-4):
            out[f"pi-{gap:.0e}"] = algebra(group, 30, math.pi - gap, seed=2)
    return out


def points(group: LieGroup, *shape: int, seed: int = 0) -> Tensor:
    """Float64 points that every group can lift."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(*shape, group.space_dim, generator=generator, dtype=torch.float64)
    if isinstance(group, Lorentz):
        return massive(pos)
    return pos.exp() if isinstance(whole(group), RxSQ) else pos


def massive(pos: Tensor) -> Tensor:
    """Momenta with masses, the exponentials of the first coordinates."""
    mass, vector = pos[..., :1].exp(), pos[..., 1:]
    energy = (mass.square() + vector.square().sum(-1, keepdim=True)).sqrt()
    return torch.cat([energy, vector], dim=-1)
