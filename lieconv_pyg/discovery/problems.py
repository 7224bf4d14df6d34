"""Pairs with a known symmetry, made without a download."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from lieconv_pyg.discovery.pairs import SymmetryPairs
from lieconv_pyg.groups.checks import positive

if TYPE_CHECKING:
    from lieconv_pyg.datasets import Jets

#: The columns of files of two bodies as (q1, p1, q2, p2).
_TWO_BODY_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
_STEP = 20 / 49


def two_body_orbits(num_orbits: int, half: str, seed: int = 0) -> Tensor:
    r"""Orbits of two bodies of mass 1 around their centre, as those of the data of
    `LieGAN <https://arxiv.org/abs/2302.00236>`_: nearly circles of radii from 1.5 to 3,
    the square of the radius uniform, all the same way round.

    Args:
        num_orbits: How many.
        half: Where they begin, as the first body sees it: in the :obj:`"lower"` half
            plane, the :obj:`"upper"` one, or in the whole :obj:`"plane"`.
        seed: Of the random numbers.

    Returns:
        States :math:`(q_1, p_1, q_2, p_2)` at 20 times, 20/49 apart, of shape
        :math:`(N, 20, 8)`, in float64.

    Raises:
        ValueError: If there is no such half plane.
    """
    from lieconv_pyg.dynamics import Gravity, integrate

    angles = {
        "lower": (-math.pi, 0.0),
        "upper": (0.0, math.pi),
        "plane": (-math.pi, math.pi),
    }
    if half not in angles:
        raise ValueError(f"'half' must be one of {', '.join(angles)}, got {half!r}")
    positive(num_orbits, "num_orbits")
    random = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        share = torch.rand(num_orbits, generator=random, dtype=torch.double)
        return low + (high - low) * share

    r = uniform(1.5**2, 3.0**2).sqrt()
    noise = torch.randn(num_orbits, generator=random, dtype=torch.double)
    speed = (1 + 1e-3 * noise) / (2 * r.sqrt())
    zero = torch.zeros_like(r)
    pos = torch.stack([torch.stack([r, zero], 1), torch.stack([-r, zero], 1)], 1)
    p = torch.stack([torch.stack([zero, speed], 1), torch.stack([zero, -speed], 1)], 1)
    # The longest period is 65: they are followed for so long, and begin anywhere.
    times = _STEP * torch.arange(180, dtype=torch.double)
    batch = torch.arange(num_orbits).repeat_interleave(2)
    mass = torch.ones(2 * num_orbits, 1, dtype=torch.double)
    path = integrate(
        Gravity(2, 2),
        mass,
        pos.flatten(0, 1),
        p.flatten(0, 1),
        times,
        batch,
        method="yoshida4",
        substeps=4,
    )
    states = torch.stack([path.pos, path.momentum], dim=2)  # (2N, T, 2, d)
    states = states.view(num_orbits, 2, len(times), 2, 2).transpose(1, 2)
    first = torch.randint(len(times) - 20, (num_orbits, 1), generator=random)
    rows = torch.arange(num_orbits).unsqueeze(1)
    states = states[rows, first + torch.arange(20)]  # (N, 20, bodies, q and p, d)
    begin = states[:, 0, 0, 0]
    turn = uniform(*angles[half]) - torch.atan2(begin[:, 1], begin[:, 0])
    return (states @ _turns(turn).mT[:, None, None]).flatten(2)


def _turns(angle: Tensor) -> Tensor:
    """Rotations (N, 2, 2) by angles (N)."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def read_two_body(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    r"""The orbits for training and for test :math:`(N, 20, 8)` of a file of `LieGAN
    <https://arxiv.org/abs/2302.00236>`_'s data, as :func:`two_body_orbits` has them.

    Args:
        path: A file ``.npz`` with arrays ``coords`` and ``test_coords``, of columns
            q1x, q2x, q1y, q2y, p1x, p2x, p1y, p2y.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such arrays, or they have other shapes.
    """
    parts = []
    try:
        with np.load(path) as file:
            arrays = [file[name] for name in ("coords", "test_coords")]
    except (KeyError, EOFError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path} has no two-body orbits: {error}") from error
    for array in arrays:
        if array.ndim != 3 or array.shape[2] != 8 or array.shape[1] < 2:
            raise ValueError(
                f"{path}: orbits must have shape (orbits, times, 8), got {array.shape}"
            )
        states = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
        parts.append(states[:, :, list(_TWO_BODY_COLUMNS)])
    return parts[0], parts[1]


def step_pairs(
    orbits: Tensor, name: str, steps: tuple[int, int] = (1, 1), extended: bool = False
) -> SymmetryPairs:
    r"""Pairs of successive states of bodies in the plane, which turn together.

    Args:
        orbits: States :math:`(N, T, n)` of 2-vectors one after the other.
        name: Of the data.
        steps: States of :math:`x` and of :math:`y`.
        extended: Whether generators may mix the bodies' positions, and their momenta,
            with each other, in an extended search space, for two bodies
            :math:`(q_1, p_1, q_2, p_2)`.

    Raises:
        ValueError: If there are too few states.
    """
    T, n = orbits.shape[1:]
    first, second = steps
    if first + second > T:
        raise ValueError(f"{first} + {second} states are asked for, orbits have {T}")
    windows = orbits.unfold(1, first + second, 1).transpose(2, 3)
    # The last window is left out, as in the authors' data.
    windows = windows[:, : max(T - first - second, 1)].flatten(0, 1).float()
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.double)
    copies = torch.eye(n // 2, dtype=torch.double)
    blocks = torch.eye(n // 2)
    if extended:
        blocks = (torch.arange(n // 2) % 2).unsqueeze(0) == (
            torch.arange(n // 2) % 2
        ).unsqueeze(1)
        blocks = blocks.float()
    return SymmetryPairs(
        windows[:, :first].contiguous(),
        windows[:, first:].contiguous(),
        mask=torch.kron(blocks, torch.ones(2, 2)),
        true_basis=torch.kron(copies, turn).unsqueeze(0),
        name=name,
    )


def three_body_orbits(num_orbits: int, seed: int = 0) -> Tensor:
    r"""Orbits of three bodies of mass 1 that begin in the corners of an equilateral
    triangle of radius 0.9 to 1.2, with velocities that are those of a circle but for up
    to a fifth: the data of `"Hamiltonian Neural Networks"
    <https://arxiv.org/abs/1906.01563>`_, of states :math:`(q_1, p_1, \ldots)` at 20
    times up to 5, of shape :math:`(N, 20, 12)`, in float64."""
    from lieconv_pyg.dynamics import Gravity, integrate

    positive(num_orbits, "num_orbits")
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=random, dtype=torch.double)

    angle = (
        2 * math.pi * (uniform(num_orbits, 1) + torch.arange(3, dtype=torch.double) / 3)
    )
    outward = torch.stack([angle.cos(), angle.sin()], dim=2)
    r = (0.9 + 0.3 * uniform(num_orbits)).view(-1, 1, 1)
    along = torch.stack([-outward[..., 1], outward[..., 0]], dim=2)
    speed = (1 / (3**0.5 * r)).sqrt() * (0.8 + 0.4 * uniform(num_orbits, 3, 2))
    path = integrate(
        Gravity(2, 3),
        torch.ones(3 * num_orbits, 1, dtype=torch.double),
        (r * outward).flatten(0, 1),
        (speed * along).flatten(0, 1),
        torch.linspace(0, 5, 20, dtype=torch.double),
        torch.arange(num_orbits).repeat_interleave(3),
        method="dopri8",
    )
    states = torch.stack([path.pos, path.momentum], dim=2)
    states = states.view(num_orbits, 3, 20, 4).transpose(1, 2).flatten(2)
    return states[states.isfinite().flatten(1).all(1)]


def discrete_rotation(num_pairs: int = 20_000, seed: int = 0) -> SymmetryPairs:
    r"""Pairs with a discrete symmetry, of `LieGAN <https://arxiv.org/abs/2302.00236>`_:
    :math:`x \sim N(0, I_3)` and

    .. math::
        y = \frac{x_3}{1 + \left(\mathrm{atan2}(x_2, x_1) \bmod 2 \pi / 7\right)},

    which turns by :math:`2 \pi / 7` around the third axis leave as it is."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(positive(num_pairs, "num_pairs"), 3, generator=random)
    angle = torch.atan2(x[:, 1], x[:, 0]).remainder(2 * math.pi / 7)
    turn = torch.zeros(1, 3, 3, dtype=torch.double)
    turn[0, 1, 0], turn[0, 0, 1] = 1, -1
    return SymmetryPairs(
        x, x[:, 2] / (1 + angle), "scalars", true_basis=turn, name="discrete rotation"
    )


def lorentz_scattering(num_pairs: int = 10_000, seed: int = 0) -> SymmetryPairs:
    r"""Four momenta and a polynomial of them that Lorentz transformations leave as it
    is, see :class:`~lieconv_pyg.datasets.LorentzToy`."""
    from lieconv_pyg.datasets import lorentz_target

    random = torch.Generator().manual_seed(seed)
    shape = positive(num_pairs, "num_pairs"), 4, 4
    p = torch.randn(shape, generator=random, dtype=torch.double) / 4
    y = lorentz_target(p).view(-1)
    return SymmetryPairs(
        p.float(), y.float(), "scalars", true_basis=lorentz_basis(), name="scattering"
    )


def leading_constituents(jets: Jets, num_vectors: int = 2) -> SymmetryPairs:
    r"""The hardest constituents of jets and their classes, as `LieGAN
    <https://arxiv.org/abs/2302.00236>`_ has them for top tagging. Jets with fewer are
    left out.

    Args:
        jets: Such as :class:`~lieconv_pyg.datasets.ToyJets`, in a unit in which momenta
            are not large numbers, for the discriminator's sake.
        num_vectors: How many constituents.

    Raises:
        ValueError: If no jet has as many.
    """
    index = torch.tensor(jets.indices())[jets.counts >= num_vectors]
    if not len(index):
        raise ValueError(f"no jet has {positive(num_vectors, 'num_vectors')} particles")
    rows = jets.slices["pos"][index].unsqueeze(1) + torch.arange(num_vectors)
    return SymmetryPairs(
        jets._data.pos[rows].float(),
        jets._data.y[index],
        "labels",
        true_basis=lorentz_basis(),
        name=f"{num_vectors} hardest constituents of {jets.source} jets",
    )


def lorentz_basis() -> Tensor:
    """Boosts along the axes and turns around them :math:`(6, 4, 4)`, of vectors
    :math:`(t, x, y, z)`."""
    basis = torch.zeros(6, 4, 4, dtype=torch.double)
    for k, (i, j) in enumerate(((2, 3), (3, 1), (1, 2))):
        basis[k, 0, k + 1] = basis[k, k + 1, 0] = 1
        basis[3 + k, i, j], basis[3 + k, j, i] = -1, 1
    return basis
