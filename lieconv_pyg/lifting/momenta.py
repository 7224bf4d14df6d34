r"""Momenta of massless particles, which have no lift to the Lorentz group.

Their orbit is the light cone, whose stabilizers are not compact: there are no uniform
lifts and no invariant distance. (Nor does it help to give them a small mass,
:math:`E \to \sqrt{\|\mathbf{p}\|^2 + m_0^2}`: that is another momentum in each frame.)
Three ways lead out, all of them exactly invariant:

- :func:`jet_frame`: go to the rest frame of the jet, where what is left of the
  Lorentz group is a rotation, and use :class:`~lieconv_pyg.groups.SO3`;
- :func:`massive_surrogate`: add a share of the jet's momentum, and use
  :class:`~lieconv_pyg.groups.Lorentz`;
- :func:`momentum_products`: use a network on invariants of pairs.

A jet is an example: the particles with one number in :obj:`batch`.
"""

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import nonnegative
from lieconv_pyg.groups.minkowski import (
    cross_square,
    mass_noise,
    mass_square,
    minkowski_product,
    to_rest_frame,
)
from lieconv_pyg.groups.ops import norm
from lieconv_pyg.lifting.validation import check_points_and_batch


def jet_frame(pos: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""The momenta as seen in the rest frame of their jet, of total momentum
    :math:`P = \sum_i p_i` and mass :math:`M = \sqrt{P \cdot P}`.

    .. math::
        E_i' = \frac{p_i \cdot P}{M}, \qquad
        \mathbf{p}_i' = \mathbf{p}_i - \frac{E_i + E_i'}{E_P + M} \mathbf{P}

    A Lorentz transformation of the jet leaves the energies :math:`E_i'`, whose sum is
    :math:`M`, as they are, and turns all :math:`\mathbf{p}_i'` by one rotation. So a
    network that is invariant to rotations about the origin, with points
    :math:`\mathbf{p}_i'` and features :math:`E_i'`, is invariant to Lorentz
    transformations.

    .. code-block:: python

        pos = jet_frame(pos, batch)
        out = model(pos[:, :1], pos[:, 1:], batch)  # with group=SO3()

    Args:
        pos (torch.Tensor): Momenta :math:`(E, p_x, p_y, p_z)`, of shape
            :math:`(N, 4)`, massless or massive. Rows of zeros, as from padding, are no
            particles, and remain.
        batch (torch.Tensor, optional): The jet of each particle :math:`(N,)`,
            non-decreasing. (default: one jet)

    Returns:
        torch.Tensor: The momenta :math:`(N, 4)` in the rest frame. All
        arithmetic is in double precision.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the momentum of a jet is not timelike with positive energy, as
            that of one massless particle, or of several with one direction.
    """
    batch = check_momenta(pos, batch)
    total = total_momentum(pos, batch)
    return to_rest_frame(pos, _timelike(total, pos)[batch]).to(pos.dtype)


def massive_surrogate(
    pos: Tensor, batch: Tensor | None = None, eps: float = 0.05
) -> Tensor:
    r"""Massive momenta in place of massless ones, with a share of the momentum
    :math:`P = \sum_i p_i` of their jet.

    .. math::
        q_i = p_i + \epsilon P, \qquad
        m_i^2 \to m_i^2 + 2 \epsilon \, p_i \cdot P + \epsilon^2 M^2

    This commutes with Lorentz transformations. The mass tells what was the energy
    in the rest frame of the jet, :math:`p_i \cdot P / M`. The smaller
    :math:`\epsilon`, the more the rapidities of particles in that frame differ.

    Args:
        pos (torch.Tensor): Momenta :math:`(E, p_x, p_y, p_z)` of shape
            :math:`(N, 4)`. Rows of zeros, as from padding, are no particles, and
            remain: leave them out before lifting.
        batch (torch.Tensor, optional): The jet of each particle :math:`(N,)`,
            non-decreasing. (default: one jet)
        eps (float, optional): The share :math:`\epsilon`. (default: :obj:`0.05`)

    Returns:
        torch.Tensor: Momenta :math:`(N, 4)`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If :obj:`eps` is not positive, a particle has :math:`E < 0` or
            :math:`E < \|\mathbf{p}\|`, or the momentum of a jet is not timelike.
    """
    if nonnegative(eps, "eps") == 0:
        raise ValueError("'eps' must be positive: with 0, nothing is added")
    batch = check_momenta(pos, batch)
    energy = pos.detach()[:, 0].double()
    # Momenta that were transformed in this precision are spacelike by a little.
    limit = torch.finfo(pos.dtype).eps ** 0.5 * energy.square()
    bad = (mass_square(pos.detach()) < -limit) | (energy < 0)
    if bool(bad.any()):
        raise ValueError(
            f"'pos' has {int(bad.sum())} momenta (E, px, py, pz) with E < |p|, which "
            f"no particle has"
        )
    total = total_momentum(pos, batch)
    _timelike(total, pos)
    moved = (pos.double() + eps * total[batch]).to(pos.dtype)
    return torch.where(_is_particle(pos), moved, pos)


def momentum_products(
    pos: Tensor, edge_index: Tensor, mass: Tensor | float | None = None
) -> Tensor:
    r"""The invariants :math:`p_i \cdot p_j = E_i E_j - \mathbf{p}_i \cdot
    \mathbf{p}_j` of pairs of particles.

    Those of nearly collinear particles are small differences of large numbers. They
    are computed as if in twice the precision of double, so that what is left is
    the rounding of the given momenta. That of the energies can be avoided too, if
    masses are known:

    .. math::
        p_i \cdot p_j = \frac{m_i^2 E_j^2 + m_j^2 \| \mathbf{p}_i \|^2}
        {E_i E_j + \| \mathbf{p}_i \| \| \mathbf{p}_j \|} +
        \frac{\| \mathbf{p}_i \times \mathbf{p}_j \|^2}
        {\| \mathbf{p}_i \| \| \mathbf{p}_j \| + \mathbf{p}_i \cdot \mathbf{p}_j},

    with :math:`E = \sqrt{m^2 + \| \mathbf{p} \|^2}`, has no difference in it.

    Args:
        pos (torch.Tensor): Momenta :math:`(E, p_x, p_y, p_z)` of shape
            :math:`(N, 4)`.
        edge_index (torch.Tensor): Pairs :math:`(2, E)` of particles.
        mass (torch.Tensor or float, optional): Masses :math:`(N,)`, or one of all
            particles, such as :obj:`0.0`; energies are taken from them then.
            (default: what the energies say)

    Returns:
        torch.Tensor: The products :math:`(E,)`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a shape is wrong, or masses are negative.
    """
    check_momenta(pos, None)
    if not isinstance(edge_index, Tensor) or edge_index.dtype != torch.long:
        raise TypeError("'edge_index' must be a tensor of dtype torch.long")
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(
            f"'edge_index' must have shape (2, E), got {tuple(edge_index.shape)}"
        )
    source, target = (pos.index_select(0, index) for index in edge_index)
    if mass is None:
        return minkowski_product(source, target).to(pos.dtype)
    square = _masses(mass, pos).square()
    m_i, m_j = (square.index_select(0, index) for index in edge_index)
    return _products_of_masses(source, target, m_i, m_j).to(pos.dtype)


def _products_of_masses(p: Tensor, k: Tensor, m_p: Tensor, m_k: Tensor) -> Tensor:
    """From the vectors and the squared masses."""
    size_p, size_k = norm(p.double()[:, 1:]), norm(k.double()[:, 1:])
    square_p, square_k = size_p.square(), size_k.square()
    both = size_p * size_k
    energies = (m_p + square_p) * (m_k + square_k)
    nonzero = energies > 0
    root = torch.where(nonzero, energies, 1.0).sqrt()
    masses = m_p * (m_k + square_k) + m_k * square_p
    product = torch.where(nonzero, masses / (root + both), 0.0)
    scalar = (p.double()[:, 1:] * k.double()[:, 1:]).sum(dim=1)
    forward = scalar > 0
    safe = torch.where(forward, both + scalar, 1.0)
    return product + torch.where(forward, cross_square(p, k) / safe, both - scalar)


def _masses(mass: Tensor | float, pos: Tensor) -> Tensor:
    mass = torch.as_tensor(mass, dtype=torch.double, device=pos.device)
    if mass.dim() > 0 and mass.shape != pos.shape[:1]:
        raise ValueError(
            f"'mass' must be a number or have shape ({pos.size(0)},), one entry for "
            f"each row of 'pos', got {tuple(mass.shape)}"
        )
    if not bool(((mass >= 0) & mass.isfinite()).all()):
        raise ValueError("'mass' must be at least 0 and finite")
    return mass.expand(pos.size(0))


def check_momenta(pos: Tensor, batch: Tensor | None) -> Tensor:
    r"""Checks momenta :math:`(N, 4)` and the batch vector, which is returned."""
    batch = check_points_and_batch(pos, batch)
    if pos.size(1) != 4:
        raise ValueError(
            f"'pos' must have shape (N, 4), momenta (E, px, py, pz), got "
            f"{tuple(pos.shape)}"
        )
    return batch


def total_momentum(pos: Tensor, batch: Tensor) -> Tensor:
    r"""The momentum of each jet :math:`(J, 4)`, in double precision."""
    total = pos.new_zeros(int(batch[-1]) + 1, 4, dtype=torch.double)
    return total.index_add(0, batch, pos.double())


def _is_particle(pos: Tensor) -> Tensor:
    return (pos != 0).any(dim=1, keepdim=True)


def _timelike(total: Tensor, pos: Tensor) -> Tensor:
    """Checks the momenta of jets; a jet without particles gets one at rest."""
    found = total.detach()
    empty = ~_is_particle(found).squeeze(1)
    massive = mass_square(found) > mass_noise(found.to(pos.dtype))
    bad = ~empty & ~(massive & (found[:, 0] > 0))
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise ValueError(
            f"{int(bad.sum())} of {len(bad)} jets have a momentum that is not timelike "
            f"with E > 0; the first is number {first} of 'batch', with "
            f"{found[first].tolist()}. A massless particle alone has no rest frame: "
            f"leave out jets with less than two directions"
        )
    rest = torch.tensor([1.0, 0.0, 0.0, 0.0]).to(total)
    return torch.where(empty.unsqueeze(1), rest, total)
