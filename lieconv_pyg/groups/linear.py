"""Groups of which the generators are all that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import matrix_basis, matrix_form, positive
from lieconv_pyg.groups.closed_form import ClosedForm, closed_form
from lieconv_pyg.groups.matrix import MatrixLieGroup
from lieconv_pyg.groups.ops import Device, matmul, matvec, norm, randn
from lieconv_pyg.groups.orbits import Orbits, find_orbits, is_compact
from lieconv_pyg.groups.planar import relative_radius, relative_radius_bound

_STEPS = 200  # to a point; after a quarter of them it is sought in another way
_FACTORS = 32  # of a product of random elements that is as good as uniform


class LinearLieGroup(MatrixLieGroup):
    r"""The group of linear maps of :math:`\mathbb{R}^n` with given generators, such as
    those of a symmetry that was discovered, with orbits, lifts and stabilizers found
    from them.

    A point has leading coordinates, in which orbits are level sets of an invariant form
    :math:`J` (or open sets), and others. It lifts to an element :math:`u` that takes a
    reference point :math:`e` there, times a length, to the point, and to the labels

    .. math::
        q = \left(\sqrt{x^\top J x}, \;
        \text{the other coordinates of } u^{-1} x\right).

    With the generators of SO(2) or SO(3) this is :class:`~lieconv_pyg.groups.SO2` or
    :class:`~lieconv_pyg.groups.SO3`, distances included. The lengths of the generators
    are the units of the algebra coordinates: those of rotations have the Frobenius norm
    :math:`\sqrt 2`.

    Where the stabilizer is compact its random elements are uniform, up to rounding.
    Where it is not, there are no uniform ones, and equivariance is approximate: normal
    coordinates, cut off at two standard deviations, take their place if a
    :obj:`stabilizer_scale` is given.

    Args:
        basis (torch.Tensor or nested sequence of float): The generators
            :obj:`(d, n, n)`.
        metric (torch.Tensor, optional): The invariant form :obj:`(n, n)`. By default it
            is found from the generators.
        stabilizer_scale (float, optional): Standard deviation of the coordinates of a
            stabilizer that is not compact. By default there are no lifts then.
        alpha (float, optional): Weight of the group distance.
            (default: :obj:`0.2`)

    Raises:
        TypeError: If the generators are not floating-point numbers.
        ValueError: If they have another shape, are linearly dependent, not closed under
            the bracket, or all matrices; if orbits are neither open nor level sets of
            an invariant form; or if the stabilizer is not compact and no
            :obj:`stabilizer_scale` is given.
    """

    def __init__(
        self,
        basis: Tensor | Sequence[Any],
        metric: Tensor | None = None,
        stabilizer_scale: float | None = None,
        alpha: float = 0.2,
    ) -> None:
        if not isinstance(basis, Tensor):
            basis = torch.tensor(basis, dtype=torch.float64)
        checked = matrix_basis(basis, "basis")
        size = checked.size(1)
        if len(checked) == size**2 > 1:
            raise ValueError(
                f"`basis` are all matrices of size {size}, which is no symmetry"
            )
        metric = None if metric is None else matrix_form(metric, "metric", size)
        if stabilizer_scale is not None and not 0 < stabilizer_scale < math.inf:
            raise ValueError(
                f"`stabilizer_scale` must be positive, got {stabilizer_scale}"
            )
        self.orbits: Orbits = find_orbits(checked, metric)
        self._metric, self.stabilizer_scale = metric, stabilizer_scale
        self.stabilizer_dim = len(self.orbits.stabilizer)
        super().__init__(checked, orbit_dim=self.orbits.label_dim, alpha=alpha)
        stabilizer = torch.einsum("sd,dij->sij", self.orbits.stabilizer, self._basis)
        #: Whether random elements of the stabilizer are uniform.
        self.has_compact_stabilizer = is_compact(stabilizer)
        if not self.has_compact_stabilizer and stabilizer_scale is None:
            raise ValueError(
                "points cannot be lifted to this group: their stabilizers are not "
                "compact, so that nothing is uniform on them. Give a "
                "`stabilizer_scale`, with which equivariance is approximate, or use "
                "InvariantMetricConv, which needs no lifts"
            )
        o = self.orbits
        # A group of rotations in the coordinates R x, with J = R^T R.
        whole = o.root is not None and o.num_lead == size
        self.settles_center = whole
        self._root = None
        self._closed: ClosedForm | None = None
        form_root = o.root if o.root is not None else o.time_root
        if form_root is not None and o.num_lead == size:
            self._closed = closed_form(
                self._basis, form_root @ o.to, o.root is not None
            )
        if o.root is not None and whole:
            self._root = o.root @ o.to
            turned = self._root @ self._basis @ torch.linalg.inv(self._root)
            self._speed = float(torch.linalg.matrix_norm(turned.flatten(1), ord=2))
        self._is_planar = whole and self.dim == 1 and size == 2
        # Logarithms of the leading coordinates: others may have turned further.
        self._lead: MatrixLieGroup | None = None
        L = self._block(self._basis)
        rank = int(torch.linalg.matrix_rank(L.flatten(1)))
        if o.num_lead < size and rank == self.dim:
            self._lead = MatrixLieGroup(L)

    def _block(self, u: Tensor) -> Tensor:
        """What elements do to the leading coordinates."""
        o = self.orbits
        return (o.to.to(u) @ u @ o.back.to(u))[..., : o.num_lead, : o.num_lead]

    def _start(self, u: Tensor, tolerance: float) -> Tensor:
        if self._lead is None:
            return super()._start(u, tolerance)
        return self._lead._start(self._block(u), tolerance)

    def exp(self, a: Tensor) -> Tensor:
        if self._closed is None:
            return super().exp(a)
        a = self._algebra(a)
        return self._closed.exp(a.double()).to(a.dtype)

    def log_with_residual(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if self._closed is None:
            return super().log_with_residual(u)
        u = self._element(u)
        a = self._closed.log(u.double())
        with torch.no_grad():
            off = torch.linalg.matrix_norm(self._closed.exp(a) - u.double())
            residual = off / torch.linalg.matrix_norm(u.double())
        return a.to(u.dtype), residual.nan_to_num(torch.inf)

    # Lifts ----------------------------------------------------------------------

    def check_points(self, pos: Tensor) -> None:
        lead = self._coordinates(self._points(pos))[0]
        o = self.orbits
        if o.root is not None:
            return
        if o.form is None:
            bad = (lead == 0).all(-1)
            why = "at the fixed point of the group"
        else:
            J, e = o.form.to(lead), o.reference.to(lead)
            square = (lead * matvec(J, lead)).sum(-1)
            bad = ~((square > 0) & ((lead * matvec(J, e)).sum(-1) > 0))
            reference = (o.back[:, : o.num_lead] @ o.reference).tolist()
            why = (
                f"not in the orbits of multiples of {[round(c, 4) for c in reference]}"
            )
        if bool(bad.any()):
            raise ValueError(
                f"`pos` has {int(bad.sum())} point(s) {why}, where {self!r} defines no "
                "lift: leave them out, or use InvariantMetricConv, which needs no lifts"
            )

    def _coordinates(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        """The leading coordinates and the others."""
        c = matvec(self.orbits.to.to(pos), pos)
        return c[..., : self.orbits.num_lead], c[..., self.orbits.num_lead :]

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        o, x = self.orbits, pos.double()
        if self._closed is not None:
            u, q = self._closed.section(x)
            return u.to(pos.dtype), q.to(pos.dtype)
        lead = self._coordinates(x)[0]
        labels = []
        if o.form is not None:
            length = self._length(lead)
            labels.append(length.unsqueeze(-1))
            at_center = length == 0
            safe = torch.where(at_center, torch.ones_like(length), length)
            e = o.reference.to(lead)
            lead = torch.where(at_center[..., None], e, lead / safe[..., None])
        u = self._element_at(lead)
        if o.num_lead < self.space_dim:
            labels.append(self._coordinates(matvec(torch.linalg.inv(u), x))[1])
        q = torch.cat(labels, dim=-1) if labels else x[..., :0]
        return u.to(pos.dtype), q.to(pos.dtype)

    def _length(self, lead: Tensor) -> Tensor:
        o = self.orbits
        if o.root is not None:
            return norm(matvec(o.root.to(lead), lead))
        assert o.form is not None
        square = (lead * matvec(o.form.to(lead), lead)).sum(-1)
        return square.clamp(min=0).sqrt()

    def _element_at(self, lead: Tensor) -> Tensor:
        """Elements that take the reference to points (*, num_lead). They are found
        without derivatives; two steps with the Jacobian as it is there then have the
        first and the second one."""
        flat = lead.reshape(-1, lead.size(-1))
        with torch.no_grad():
            u, a = self._search(flat.detach())
            inverse = self._inverse_jacobian(a)
        for _ in range(2):
            a = a + matvec(inverse, self._offset(self._times(u, a), flat))
        return self._times(u, a).view(*lead.shape[:-1], *u.shape[1:])

    def _times(self, u: Tensor, a: Tensor) -> Tensor:
        """The elements u exp(a), with coordinates (N, r) normal to the stabilizer."""
        return matmul(u, self.exp(a @ self.orbits.moving.to(a)))

    def _inverse_jacobian(self, a: Tensor) -> Tensor:
        """What takes offsets of points to changes of a (N, r, num_lead)."""
        o = self.orbits
        changes = self._right_jacobian(a @ o.moving.to(a)) @ o.moving.to(a).t()
        return torch.linalg.pinv(o.tangents.to(a) @ changes, rtol=1e-6)

    def _offset(self, u: Tensor, lead: Tensor) -> Tensor:
        """Seen from the elements, how far points are from the reference."""
        o = self.orbits
        seen = torch.linalg.solve(self._block(u), lead.unsqueeze(2)).squeeze(2)
        return seen - o.reference.to(u)

    def _search(self, lead: Tensor) -> tuple[Tensor, Tensor]:
        """Elements u exp(a) near enough. Where lifts are unique a is 0; else u is the
        identity, so that one lift of many is chosen by a rule that is smooth, but for
        points that are not found so."""
        o = self.orbits
        u = self.identity(len(lead), dtype=lead.dtype, device=lead.device)
        a = lead.new_zeros(len(lead), len(o.moving))
        tolerance = 1e-9 * (1 + norm(lead))
        left = torch.arange(len(lead), device=lead.device)
        for number in range(_STEPS):
            away = self._offset(self._times(u[left], a[left]), lead[left])
            far = norm(away) > tolerance[left]
            left, away = left[far], away[far]
            if not len(left):
                return u, a
            if number == _STEPS // 4:
                a[left] = 0.0
                away = self._offset(u[left], lead[left])
            a[left] = a[left] + self._step(a[left], away)
            if not len(o.stabilizer) or number >= _STEPS // 4:
                u[left] = self._times(u[left], a[left])
                a[left] = 0.0
        raise ValueError(
            f"{len(left)} point(s) were not reached from the reference point of "
            f"{self!r}: are they in other orbits? Leave them out, or use "
            "InvariantMetricConv, which needs no lifts"
        )

    def _step(self, a: Tensor, away: Tensor) -> Tensor:
        """The change of a that leads to what is away from the reference, as far as a
        step goes."""
        o = self.orbits
        speed = (o.tangents @ o.moving.t()).to(a)  # of the reference
        reach = 0.7 * float(o.reference.norm())
        step = matvec(self._inverse_jacobian(a), away)
        length = norm(matvec(speed, step))
        wanted = length.clamp(max=reach)
        if o.root is not None:
            # Points on the far side are not reached by what is left of them in the
            # direction of the step; of opposite points nothing is.
            behind = away @ o.reference.to(a) < -o.reference.square().sum()
            lost = behind & (length < 1e-9)
            first = torch.eye(a.size(1), dtype=a.dtype, device=a.device)[0]
            step = torch.where(lost[:, None], first, step)
            length = norm(matvec(speed, step))
            wanted = torch.where(behind, reach, wanted)
        return step * (wanted / length.clamp(min=1e-300))[:, None]

    def origin(self, q: Tensor) -> Tensor:
        o = self.orbits
        rest = q
        lead = o.reference.to(q).expand(*q.shape[:-1], -1)
        if o.form is not None:
            lead, rest = q[..., :1] * lead, q[..., 1:]
        return matvec(o.back.to(q), torch.cat([lead, rest], dim=-1))

    # Stabilizers ------------------------------------------------------------------

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        like: Any = dict(generator=generator, dtype=dtype, device=device)
        if self._closed is not None:
            return self._closed.back(self._closed.group.sample(*shape, **like))
        if self._root is None:
            return super().sample(*shape, scale=scale, **like)
        eye = torch.eye(self.dim, dtype=torch.float64)
        return self._uniform(eye, shape, generator, dtype, device)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        like: Any = dict(generator=generator, dtype=dtype, device=device)
        if self._closed is not None:
            drawn = self._closed.group.stabilizer_sample(*shape, **like)
            return self._closed.back(drawn)
        rows = self.orbits.stabilizer
        if not len(rows) or self.has_compact_stabilizer:
            return self._uniform(rows, shape, generator, dtype, device)
        assert self.stabilizer_scale is not None
        z = randn((*shape, len(rows)), generator, torch.float64, device)
        inside = z.abs() <= 2  # those outside are folded back
        z = torch.where(inside, z, z.sign() * (z.abs() % 2))
        a = self.stabilizer_scale * z @ rows.to(z)
        return self.exp(a).to(dtype or torch.get_default_dtype())

    def _uniform(
        self,
        rows: Tensor,
        shape: Sequence[int],
        generator: torch.Generator | None,
        dtype: torch.dtype | None,
        device: Device,
    ) -> Tensor:
        """Uniform elements of a compact subgroup: products of random ones, whose
        distribution comes nearer by at least a third with each factor."""
        out = self.identity(*shape, dtype=torch.float64, device=device)
        if generator is not None and device is None:
            out = out.to(generator.device)
        if len(rows):
            size = torch.linalg.matrix_norm(
                torch.einsum("sd,dij->sij", rows, self._basis)
            )
            wide = (6 * torch.pi / size[:, None]) * rows
            for _ in range(1 if len(rows) == 1 else _FACTORS):
                z = randn((*shape, len(rows)), generator, torch.float64, device)
                z = 8 * z if len(rows) == 1 else z
                out = matmul(out, self.exp(z @ wide.to(z)))
        return out.to(dtype or torch.get_default_dtype())

    def stabilizer_grid(
        self, num: int, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        positive(num, "num")
        if self._closed is not None:
            grid = self._closed.group.stabilizer_grid(num, dtype, device)
            return self._closed.back(grid)
        random = torch.Generator().manual_seed(0)
        drawn = self.stabilizer_sample(64 * num, generator=random, dtype=torch.float64)
        drawn[0] = torch.eye(self.matrix_dim)
        flat = drawn.flatten(1)
        chosen, nearest = [0], (flat - flat[0]).norm(dim=1)
        for _ in range(num - 1 if len(self.orbits.stabilizer) else 0):
            chosen.append(int(nearest.argmax()))
            nearest = nearest.minimum((flat - flat[chosen[-1]]).norm(dim=1))
        chosen += [0] * (num - len(chosen))
        return drawn[chosen].to(dtype=dtype or torch.get_default_dtype(), device=device)

    # Distances ---------------------------------------------------------------------

    def distance(self, pairs: Tensor) -> Tensor:
        if not self._is_planar:
            return super().distance(pairs)
        a, q_i, q_j = (part.squeeze(-1) for part in self.split_pairs(pairs))
        return self.alpha * a.abs() + (1 - self.alpha) * relative_radius(q_i, q_j)

    def embed(
        self, u: Tensor, q: Tensor, radius: float | Tensor | None = None
    ) -> Tensor | None:
        if self._root is None:
            return None
        # Elements are rotations R u R^-1, whose distance is at most that of logarithms.
        root = self._root.to(u)
        turned = matmul(matmul(root, self._element(u)), torch.linalg.inv(root))
        rotation = (self.alpha / self._speed) * turned.flatten(-2)
        if not self._is_planar:
            return torch.cat([rotation, (1 - self.alpha) * q], dim=-1)
        bound = relative_radius_bound(q, radius, self.alpha)
        return rotation if bound is None else torch.cat([rotation, bound], dim=-1)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        metric = self._metric
        return {
            "basis": given["generators"],
            "metric": None if metric is None else tuple(metric.flatten().tolist()),
            "stabilizer_scale": self.stabilizer_scale,
            "alpha": self.alpha,
        }
