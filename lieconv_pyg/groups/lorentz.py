"""Lorentz transformations of four-momenta."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import nonnegative, positive, trailing_shape
from lieconv_pyg.groups.minkowski import mass_noise, mass_square
from lieconv_pyg.groups.ops import Device, matmul, matvec, norm, randn
from lieconv_pyg.groups.rotation import quaternion_from_rotation, super_fibonacci
from lieconv_pyg.groups.spinor import (
    Spinor,
    from_element,
    from_lorentz_matrix,
    lorentz_matrix,
    momentum,
    quotient,
    sign,
    spinor_exp,
    spinor_log,
    to_element,
)

WAYS_OUT = (
    "use `jet_frame` with SO3, `massive_surrogate` with Lorentz, or a network on "
    "`momentum_products`, all in lieconv_pyg.lifting"
)


class Lorentz(LieGroup):
    r"""The Lorentz group :math:`\mathrm{SO}^+(1, 3)`, of boosts and rotations, on the
    momenta :math:`(E, p_x, p_y, p_z)` of massive particles.

    Algebra coordinates are :math:`(\zeta, \theta)`: first the rapidity vector of
    a boost, then a rotation vector. Elements are matrices
    :math:`A = \exp\left(\tfrac{1}{2} (\zeta - i \theta) \cdot \sigma\right)` of
    :math:`\mathrm{SL}(2, \mathbb{C})`, with :math:`\sigma` the Pauli matrices, as real
    matrices :math:`\begin{pmatrix} \mathrm{Re} A & -\mathrm{Im} A \\ \mathrm{Im} A &
    \mathrm{Re} A \end{pmatrix}`, for these keep eight more digits of a boost of
    rapidity 18 than the matrices :math:`\Lambda` of :meth:`lorentz_matrix`. :math:`A`
    and :math:`-A` are the same element: :meth:`log` and all that is made from it do
    not tell them apart. A network is exactly invariant up to rounding only, and
    rounding in :math:`v^{-1} u` grows as :math:`e^{\eta}` with the rapidity
    :math:`\eta` of the particles: compute in float64, or in their rest frame, see
    :func:`~lieconv_pyg.lifting.jet_frame`.

    A momentum lifts to the boost that takes it from rest, times any rotation, from the
    origin :math:`(m, 0, 0, 0)` with :math:`q = \log m`, in the units of the momenta,
    and

    .. math::
        d_{ij} = \alpha \left( d(p_i, p_j) + \beta \| \theta_{ij} \| \right)
        + (1 - \alpha) \left| \log \tfrac{m_i}{m_j} \right|, \quad
        \cosh d(p_i, p_j) = \frac{p_i \cdot p_j}{m_i m_j}.

    :math:`d(p_i, p_j)` is the relative rapidity: a distance of the momenta, the
    same for all lifts of them, so that with :math:`\beta = 0` neighbors within a
    radius do not depend on the lifts. (The group has no metric that products from
    both sides leave as it is.) The lifts of one momentum are then equally far from
    all others: where some of them are chosen by distance, as farthest points or
    :math:`k` nearest neighbors, take :math:`\beta > 0`, or rounding decides.

    Args:
        alpha (float, optional): Weight of the group part of the distance.
            (default: :obj:`0.2`)
        beta (float, optional): Weight, relative to the rapidity, of the angle
            :math:`\| \theta_{ij} \|` between lifts. (default: :obj:`0.0`)
    """

    dim = 6
    orbit_dim = 1
    matrix_dim = 4
    space_dim = 4
    stabilizer_dim = 3
    distance_noise = 1024.0  # of two boosts that nearly cancel

    def __init__(self, alpha: float = 0.2, beta: float = 0.0) -> None:
        super().__init__(alpha)
        self.beta = nonnegative(beta, "beta")

    # The group ----------------------------------------------------------------

    def exp(self, a: Tensor) -> Tensor:
        return to_element(self._exp(self._algebra(a)))

    def log(self, u: Tensor) -> Tensor:
        r"""The algebra vector of :obj:`u`, or of :obj:`-u`, see :meth:`canonical`."""
        return spinor_log(from_element(self._element(u))).movedim(0, -1)

    def canonical(self, u: Tensor) -> Tensor:
        r""":obj:`u` or :obj:`-u`, which are the same Lorentz transformation: the one
        with a positive trace, which is the exponential of its :meth:`log`. Where the
        trace is 0 up to rounding, at half turns, a fixed rule decides.
        """
        u = self._element(u)
        return u * sign(from_element(u))[..., None, None]

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        half = torch.eye(3, dtype=dtype, device=device) / 2
        zero = half.new_zeros(4, 3)
        boosts = Spinor(torch.cat([zero[:1], half]), zero)
        turns = Spinor(zero, torch.cat([zero[:1], -half]))
        return torch.cat([to_element(boosts), to_element(turns)])

    def inverse(self, u: Tensor) -> Tensor:
        # The adjugate of each complex 2 x 2 matrix, without rounding.
        blocks = self._element(u).unflatten(-1, (2, 2)).unflatten(-3, (2, 2))
        a, b, c, d = blocks.transpose(-3, -2).flatten(-2).unbind(dim=-1)
        adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
        return adjugate.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        u, v = torch.broadcast_tensors(self._element(u), self._element(v, "v"))
        found = quotient(from_element(v), from_element(u))
        return spinor_log(found).movedim(0, -1)

    def indexed_pairs(
        self, u: Tensor, q_u: Tensor, i: Tensor, v: Tensor, q_v: Tensor, j: Tensor
    ) -> Tensor:
        # Coordinates are found once an element.
        source = torch.stack(from_element(self._element(v, "v")))
        target = source if u is v else torch.stack(from_element(self._element(u)))
        x, y = source.index_select(2, j), target.index_select(2, i)
        a = spinor_log(quotient(Spinor(*x.unbind()), Spinor(*y.unbind())))
        labels = q_u.index_select(0, i), q_v.index_select(0, j)
        return torch.cat([a.t(), *labels], dim=-1)

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        r"""Random elements :obj:`(*shape, 4, 4)`: a Haar-uniform rotation, followed by
        a boost whose three rapidities are normal with standard deviation :obj:`scale`;
        with the sign of :meth:`canonical`.
        """
        rotation = self.stabilizer_sample(
            *shape, generator=generator, dtype=dtype, device=device
        )
        rapidity = scale * randn((*shape, 3), generator, dtype, device)
        boost = self.exp(torch.cat([rapidity, torch.zeros_like(rapidity)], dim=-1))
        return self.canonical(self.compose(boost, rotation))

    # Momenta ------------------------------------------------------------------

    def lorentz_matrix(self, u: Tensor) -> Tensor:
        r"""The matrices :math:`\Lambda` of shape :obj:`(*, 4, 4)` with
        :math:`u \cdot p = \Lambda p`."""
        return lorentz_matrix(from_element(self._element(u)))

    def from_lorentz_matrix(self, matrix: Tensor) -> Tensor:
        r"""The element, with the sign of :meth:`canonical`, of matrices
        :math:`\Lambda`. Of a boost of rapidity :math:`\eta` these have lost a part
        :math:`e^{\eta}` of their precision: where it matters, keep the elements.

        Args:
            matrix (torch.Tensor): :math:`\Lambda`, of shape :obj:`(*, 4, 4)`.

        Returns:
            torch.Tensor: Elements :obj:`(*, 4, 4)`.

        Raises:
            ValueError: If a matrix is not of :math:`\mathrm{SO}^+(1, 3)`.
        """
        matrix = trailing_shape(matrix, "matrix", (4, 4), self)
        found = from_lorentz_matrix(matrix)
        bad = ~_is_proper(matrix.detach(), lorentz_matrix(found).detach())
        if bool(bad.any()):
            raise ValueError(
                f"`matrix` has {int(bad.sum())} of {bad.numel()} matrices that are not "
                f"proper orthochronous Lorentz transformations: they must keep "
                f"E^2 - p^2, the sign of E and the orientation of space"
            )
        return to_element(found)

    def from_rotation(self, rotation: Tensor) -> Tensor:
        r"""The elements :obj:`(*, 4, 4)` of rotations :obj:`(*, 3, 3)` of space."""
        rotation = trailing_shape(rotation, "rotation", (3, 3), self)
        return _from_quaternion(quaternion_from_rotation(rotation))

    def act(self, u: Tensor, x: Tensor) -> Tensor:
        return matvec(self.lorentz_matrix(u), self._points(x, "x"))

    def act_on_vectors(self, u: Tensor, v: Tensor) -> Tensor:
        return matvec(self.lorentz_matrix(u), self._points(v, "v"))

    def check_points(self, pos: Tensor) -> None:
        r"""Raises a :class:`ValueError` for momenta that are not those of massive
        particles. A mass below the rounding errors of the momentum counts as none: a
        particle of energy :math:`E` needs :math:`m^2 > 8 \epsilon E^2`.
        """
        pos = self._points(pos).detach()
        square, noise = mass_square(pos), mass_noise(pos)
        kinds = {
            "NaN or infinite entries": ~pos.isfinite().all(dim=-1),
            "E <= 0: leave out padding and turn around incoming particles": (
                pos[..., 0] <= 0
            ),
            "E < |p|, which no particle has": square < -noise,
            f"no mass (up to rounding), which is no lift: {WAYS_OUT}": square <= noise,
        }
        for kind, bad in kinds.items():
            if bool(bad.any()):
                raise ValueError(
                    f"`pos` must have momenta (E, px, py, pz) of massive particles for "
                    f"{self!r}; {int(bad.sum())} of {bad.numel()} have {kind}"
                )

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        mass = mass_square(pos).sqrt().unsqueeze(-1)
        energy, vector = pos.double().split([1, 3], dim=-1)
        half = (2 * mass * (mass + energy)).sqrt()
        real = torch.cat([(mass + energy) / half, vector / half], dim=-1).movedim(-1, 0)
        u = to_element(Spinor(real, torch.zeros_like(real)))
        return u.to(pos.dtype), mass.log().to(pos.dtype)

    def origin(self, q: Tensor) -> Tensor:
        return torch.cat([q.exp(), q.new_zeros(*q.shape[:-1], 3)], dim=-1)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        q = randn((*shape, 4), generator, dtype, device)
        return _from_quaternion(q / norm(q).unsqueeze(-1))

    def stabilizer_grid(
        self, num: int, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        u = _from_quaternion(super_fibonacci(positive(num, "num")))
        return u.to(dtype=dtype or torch.get_default_dtype(), device=device)

    # Pairs --------------------------------------------------------------------

    def distance(self, pairs: Tensor) -> Tensor:
        a, q_i, q_j = self.split_pairs(pairs)
        d = norm(momentum(self._exp(a)).movedim(0, -1)).asinh()
        if self.beta > 0:
            d = d + self.beta * norm(a[..., 3:])
        return self.alpha * d + (1 - self.alpha) * norm(q_i - q_j)

    def embed(
        self, u: Tensor, q: Tensor, radius: float | Tensor | None = None
    ) -> Tensor:
        # Velocities form a hyperbolic space, of negative curvature: the logarithm map
        # at rest brings no two of them further apart.
        p = momentum(from_element(self._element(u))).movedim(0, -1)
        size = norm(p).unsqueeze(-1)
        safe = torch.where(size > 0, size, torch.ones_like(size))
        rapidity = p * torch.where(size > 0, safe.asinh() / safe, 1.0)
        return torch.cat([self.alpha * rapidity, (1 - self.alpha) * q], dim=-1)

    def _exp(self, a: Tensor) -> Spinor:
        a = a.movedim(-1, 0)
        return spinor_exp(a[:3], a[3:])

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **({"beta": self.beta} if self.beta else {})}


def _from_quaternion(q: Tensor) -> Tensor:
    """cos(t / 2) - i sin(t / 2) n . sigma, of a unit quaternion."""
    q = q.movedim(-1, 0)
    zero = torch.zeros_like(q)
    return to_element(
        Spinor(torch.cat([q[:1], zero[1:]]), torch.cat([zero[:1], -q[1:]]))
    )


def _is_proper(matrix: Tensor, back: Tensor) -> Tensor:
    """Whether matrices keep the metric, and those of their elements are as they are."""
    metric = torch.diag(matrix.new_tensor([1.0, -1.0, -1.0, -1.0]))
    change = matmul(matmul(matrix.mT, metric), matrix) - metric
    changed, error, size = (
        x.flatten(-2).abs().amax(dim=-1) for x in (change, back - matrix, matrix)
    )
    eps = torch.finfo(matrix.dtype).eps
    limit = eps**0.5 * size
    return (error <= limit) & (changed <= limit + 64 * eps * size.square())
