"""The orbits of a group of matrices, found from its generators."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from torch import Tensor

_ZERO = 1e-7  # share of the largest singular value, below which one is 0


def invariant_forms(basis: Tensor) -> tuple[Tensor, Tensor]:
    r"""Symmetric matrices :math:`J` of norm 1 in the order of how well generators keep
    them.

    Args:
        basis (torch.Tensor): Generators :obj:`(d, n, n)`.

    Returns:
        tuple: The norms of :math:`L_i^T J + J L_i`, of all generators together,
        :obj:`(n (n + 1) / 2,)`, the smallest first, and the orthonormal :math:`J`.
    """
    size = basis.size(1)
    units = []
    for i, j in combinations_with_replacement(range(size), 2):
        unit = basis.new_zeros(size, size)
        unit[i, j] = unit[j, i] = 1.0 if i == j else 0.5**0.5
        units.append(unit)
    symmetric = torch.stack(units)
    products = symmetric.unsqueeze(1) @ basis
    _, values, rows = torch.linalg.svd((products + products.mT).flatten(1).t())
    values = torch.cat([values, values.new_zeros(len(rows) - len(values))])
    return values.flip(0), torch.einsum("ks,sij->kij", rows.flip(0), symmetric)


def null_space(rows: Tensor, scale: float | None = None) -> Tensor:
    """Orthonormal vectors :obj:`(k, n)` that the rows :obj:`(m, n)` take to 0."""
    _, values, right = torch.linalg.svd(rows)
    largest = float(values[0]) if scale is None else scale
    return right[int((values > _ZERO * max(largest, 1e-30)).sum()) :]


def _span(columns: Tensor) -> Tensor:
    """An orthonormal basis (n, r) of the span of columns: axes where they span it."""
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    left = left[:, values > _ZERO * values[0]]
    share = (left @ left.t()).diagonal()
    if bool(((share - share.round()).abs() < 1e-9).all()):
        return torch.eye(len(share), dtype=columns.dtype)[:, share > 0.5]
    return left


def _leads(basis: Tensor) -> list[Tensor]:
    """Sets of coordinates that generators (d, m, m) mix with no others."""
    linked = basis.abs().amax(0) > 1e-9 * basis.abs().max()
    linked = linked | linked.t() | torch.eye(len(linked), dtype=torch.bool)
    for _ in range(len(linked)):
        linked = (linked.double() @ linked.double()) > 0
    first = linked.double().argmax(1)
    return [first == k for k in first.unique()]


def _rank(basis: Tensor, point: Tensor) -> int:
    """The dimension of the orbit of a point."""
    values = torch.linalg.svdvals(basis @ point)
    largest = torch.linalg.matrix_norm(basis).max() * point.norm()
    return int((values > _ZERO * largest).sum())


@dataclass(frozen=True)
class Orbits:
    r"""How points :math:`x` are told by an element that takes a reference point of
    their orbit to them, and labels that are the same everywhere in an orbit.

    Coordinates :math:`c = B^{-1} x` are the leading ones, in which orbits are
    everything (an open set) or the level sets of a form, and the rest.

    Args:
        to (Tensor): The matrix :math:`B^{-1}`, :obj:`(n, n)`.
        back (Tensor): The matrix :math:`B`.
        num_lead (int): The number of leading coordinates.
        reference (Tensor): The reference point in them.
        form (Tensor, optional): The form :math:`J` in them, 1 at the reference, if
            orbits are its level sets.
        root (Tensor, optional): :math:`R` with :math:`J = R^\top R`, if the form is
            definite.
        time_root (Tensor, optional): :math:`R` with :math:`J = R^\top \eta R` and
            :math:`\eta = \mathrm{diag}(1, -1, \ldots)`, if it has one positive square,
            and that of the reference is it.
        stabilizer (Tensor): Algebra vectors :obj:`(s, d)` that keep the reference.
        moving (Tensor): Algebra vectors :obj:`(r, d)` normal to these.
        tangents (Tensor): What algebra vectors do to the reference,
            :obj:`(num_lead, d)`.
    """

    to: Tensor
    back: Tensor
    num_lead: int
    reference: Tensor
    form: Tensor | None
    root: Tensor | None
    time_root: Tensor | None
    stabilizer: Tensor
    moving: Tensor
    tangents: Tensor

    @property
    def label_dim(self) -> int:
        """Number of orbit labels."""
        return len(self.to) - self.num_lead + (self.form is not None)


def find_orbits(basis: Tensor, metric: Tensor | None = None) -> Orbits:
    r"""Finds the orbits of most points.

    Args:
        basis (torch.Tensor): Generators :obj:`(d, n, n)`, in float64.
        metric (torch.Tensor, optional): The invariant form :obj:`(n, n)`. By default it
            is looked for.

    Raises:
        ValueError: If orbits are neither open sets nor level sets of an invariant form
            in some of the coordinates, which tell the lift.
    """
    n = basis.size(1)
    # R^n = W + F: what generators move, and the vectors that they keep.
    fixed = _span(f.t()) if len(f := null_space(basis.flatten(0, 1))) else f.t()
    moved = _span(basis.transpose(0, 1).flatten(1))
    back = torch.cat([moved, fixed], dim=1)
    if back.size(1) != n or float(torch.linalg.cond(back)) > 1e6:
        raise _no_section(
            "it moves vectors along vectors that it keeps, as translations in "
            "homogeneous coordinates do, where generators are of linear maps"
        )
    inner = torch.linalg.solve(back, basis @ back)[:, : moved.size(1), : moved.size(1)]
    random = torch.Generator().manual_seed(0)
    anywhere = torch.randn(len(inner[0]), generator=random, dtype=basis.dtype)
    leads = [torch.ones(len(anywhere), dtype=torch.bool)]
    if _rank(inner, anywhere) < len(anywhere) - 1:
        leads = _leads(inner)
    errors = []
    for lead in leads:
        try:
            return _orbits_of(inner, lead, back, metric, anywhere)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _orbits_of(
    inner: Tensor, lead: Tensor, back: Tensor, metric: Tensor | None, anywhere: Tensor
) -> Orbits:
    """The orbits of what generators move, in coordinates with these in front."""
    order = torch.cat([lead.nonzero(), (~lead).nonzero()]).flatten()
    fixed = back[:, len(lead) :]
    back = torch.cat([back[:, order], fixed], dim=1)
    num = int(lead.sum())
    L = inner[:, lead][:, :, lead]
    form, definite = None, True
    rank = _rank(L, anywhere[lead])
    if rank == num:
        reference = _open_reference(L)
    elif rank == num - 1:
        part = back[:, :num]
        given = None if metric is None else part.t() @ metric.to(inner) @ part
        form, reference, definite = _form(L, given)
    else:
        raise _no_section(
            f"orbits have {rank} of {num} dimensions. (Where points are several "
            "vectors that move alike, shared_block finds how each does; a basis that "
            "was learned wants clean_basis with its invariant_metric first)"
        )
    tangents = (L @ reference).t()  # (num, d)
    largest = float(torch.linalg.matrix_norm(L).max() * reference.norm())
    stabilizer = null_space(tangents, largest)
    if num < len(inner[0]):
        _check_rest(inner, lead, stabilizer)
    # Normal in an inner product that the stabilizer keeps.
    turned = L
    if form is not None:
        values, vectors = torch.linalg.eigh(form)
        root = values.abs().sqrt()[:, None] * vectors.t()
        turned = root @ L @ torch.linalg.inv(root)
    gram = turned.flatten(1) @ turned.flatten(1).t()
    moving = torch.eye(len(L), dtype=L.dtype)
    if len(stabilizer):
        moving = null_space(stabilizer @ gram)
    return Orbits(
        torch.linalg.inv(back),
        back,
        num,
        reference,
        form,
        torch.linalg.cholesky(form).mT if form is not None and definite else None,
        None if form is None or definite else _time_root(form, reference),
        stabilizer,
        moving,
        tangents,
    )


def _check_rest(inner: Tensor, lead: Tensor, stabilizer: Tensor) -> None:
    """What keeps a point in the leading coordinates must keep the others, or these
    would depend on the lift."""
    if len(stabilizer):
        rest = torch.einsum("sd,dij->sij", stabilizer, inner)[:, ~lead]
        if float(rest.abs().max()) > 1e-6 * float(inner.abs().max()):
            raise _no_section("what keeps the first coordinates moves others")
    elif int(lead.sum()) == 2:
        # Whole turns of a plane; around other orbits there is no way that cannot be
        # drawn together.
        turn = inner[0]
        if len(inner) > 1:
            traces = inner[:, lead][:, :, lead].diagonal(dim1=1, dim2=2).sum(1)
            turn = torch.einsum("d,dij->ij", null_space(traces[None])[0], inner)
        values = torch.linalg.eigvals(turn[lead][:, lead])
        speed = float(values.imag.abs().max())
        if speed <= 1e-9 * float(turn.norm()):
            return
        whole = torch.linalg.matrix_exp(2 * torch.pi / speed * turn)[~lead][:, ~lead]
        if float((whole - torch.eye(len(whole)).to(whole)).abs().max()) > 1e-6:
            raise _no_section("whole turns of the first coordinates move others")


def _open_reference(L: Tensor) -> Tensor:
    """A point with an open orbit: the first axis, or the sum of all axes."""
    first = torch.zeros(L.size(1), dtype=L.dtype)
    first[0] = 1
    for point in (first, torch.ones_like(first)):
        if _rank(L, point) == L.size(1):
            return point
    random = torch.Generator().manual_seed(1)
    return torch.randn(L.size(1), generator=random, dtype=L.dtype)


def _form(L: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor, bool]:
    """The invariant form, 1 at the reference point, that point, and whether it is
    definite."""
    if given is None:
        residuals, forms = invariant_forms(L)
        residual, J = float(residuals[0]), forms[0]
    else:
        J = (given + given.t()) / 2
        J = J / J.norm()
        residual = float((L.mT @ J + J @ L).norm())
    if residual > 1e-6 * float(L.flatten(1).norm(dim=1).max()):
        raise _no_section(
            "no form is invariant (with a metric, clean_basis makes generators that "
            "were learned keep it exactly)"
            if given is None
            else "`metric` is not invariant"
        )
    values, vectors = torch.linalg.eigh(J)
    positive, negative = int((values > 1e-9).sum()), int((values < -1e-9).sum())
    if positive + negative < len(J):
        raise _no_section("the invariant form is degenerate")
    if negative > positive or (negative == positive and float(J[0, 0]) < 0):
        J, values, vectors = -J, -values.flip(0), vectors.flip(1)
        positive, negative = negative, positive
    reference = torch.zeros(len(J), dtype=J.dtype)
    if negative == 0:
        reference[0] = 1
    elif negative == 1 and positive > 1:  # the time of an indefinite metric
        J = -J
        reference = vectors[:, 0]
    else:
        reference = vectors[:, -1]
    # Its largest coordinate is positive.
    largest = reference[reference.abs().argmax()]
    reference = reference * largest.sign()
    return J / (reference @ J @ reference), reference, negative == 0


def _time_root(form: Tensor, reference: Tensor) -> Tensor | None:
    """:math:`R` with :math:`J = R^T diag(1, -1, ...) R` and R e the first axis."""
    values, vectors = torch.linalg.eigh(form)
    if int((values > 0).sum()) != 1:
        return None
    rows = values.abs().sqrt().flip(0)[:, None] * vectors.t().flip(0)
    rows[0] = rows[0] * (rows[0] @ reference).sign()
    off = rows @ reference - torch.eye(len(rows), dtype=rows.dtype)[0]
    return rows if float(off.abs().max()) < 1e-9 else None


def _no_section(why: str) -> ValueError:
    return ValueError(
        f"points cannot be lifted to this group: {why}. Give MatrixLieGroup a "
        "`section` and an `origin`, or use InvariantMetricConv, which needs no lifts"
    )


def is_compact(basis: Tensor) -> bool:
    """Whether elements of an algebra (s, n, n) have imaginary eigenvalues only, and a
    basis of eigenvectors."""
    if not len(basis):
        return True
    random = torch.Generator().manual_seed(0)
    mix = torch.randn(8, len(basis), generator=random, dtype=basis.dtype)
    elements = torch.cat([basis, torch.einsum("ks,sij->kij", mix, basis)])
    sizes = torch.linalg.matrix_norm(elements)
    values, vectors = torch.linalg.eig(elements)
    real = values.real.abs().amax(1) / sizes
    return bool((real < 1e-6).all()) and bool((torch.linalg.cond(vectors) < 1e6).all())
