"""The base class of all groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import (
    check_dimensions,
    positive,
    trailing_shape,
    unit_interval,
)
from lieconv_pyg.groups.ops import Device, matmul, matvec, norm, randn

_PAIRS = {
    *("pairs", "indexed_pairs", "relative_log", "relative"),
    *("log", "log_parts", "compose"),
}


class LieGroup(ABC):
    r"""A matrix Lie group :math:`G` acting on points of
    :math:`\mathbb{R}^{\texttt{space\_dim}}`, with what
    `"Generalizing Convolutional Neural Networks for Equivariance to Lie Groups on
    Arbitrary Continuous Data" <https://arxiv.org/abs/2002.12880>`_ needs of it.

    A subclass states the four dimensions below and defines :meth:`exp` and
    :meth:`log`, and :meth:`section` if points are to be lifted. Everything else
    has a default that follows from these; the groups of this package override
    some of it with closed forms.

    Elements are matrices of shape :obj:`(*, matrix_dim, matrix_dim)` and algebra
    vectors have shape :obj:`(*, dim)`, for any leading shape :obj:`*`.

    Args:
        alpha (float, optional): The weight, in :math:`[0, 1]`, of the group part
            of :meth:`distance`; the rest has the weight :math:`1 - \alpha`.
            (default: :obj:`0.2`)
    """

    #: Dimension of the group: the length of algebra vectors.
    dim: int
    #: Number of coordinates of the orbit label :math:`q`.
    orbit_dim: int
    #: Elements are square matrices of this size.
    matrix_dim: int
    #: Dimension of the points acted on.
    space_dim: int
    #: Dimension of the stabilizer of the origin; 0 if lifts are unique.
    stabilizer_dim: int = 0
    #: Whether all elements commute.
    commutative: bool = False
    #: Whether points at the origin up to rounding are lifted as those there.
    settles_center: bool = False
    #: Relative errors of distances, in units of rounding.
    distance_noise: float = 8.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A shortcut of the parent's past what the subclass defines anew would be wrong.
        owner = next(c for c in cls.__mro__ if vars(c).keys() & _PAIRS)
        if "indexed_pairs" not in vars(owner):
            cls.indexed_pairs = LieGroup.indexed_pairs  # type: ignore[method-assign]

    def __init__(self, alpha: float = 0.2) -> None:
        check_dimensions(self)
        self.alpha = unit_interval(alpha, "alpha")

    # The exponential map and the algebra -------------------------------------

    @abstractmethod
    def exp(self, a: Tensor) -> Tensor:
        r"""The group element :math:`\exp(\sum_k a_k A_k)`, with :math:`A_k` the
        :meth:`generators`.

        Args:
            a (torch.Tensor): Algebra vectors of shape :obj:`(*, dim)`.

        Returns:
            torch.Tensor: Matrices of shape :obj:`(*, matrix_dim, matrix_dim)`.
        """

    @abstractmethod
    def log(self, u: Tensor) -> Tensor:
        r"""The algebra vector :math:`a` closest to 0 with :math:`\exp(a) = u`.

        Args:
            u (torch.Tensor): Elements :obj:`(*, matrix_dim, matrix_dim)`.

        Returns:
            torch.Tensor: Algebra vectors of shape :obj:`(*, dim)`.
        """

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        r"""The basis :math:`A_k = \partial_{a_k} \exp(a) |_{a = 0}` of the algebra,
        of shape :obj:`(dim, matrix_dim, matrix_dim)`.
        """
        basis = self.__dict__.get("_basis")
        if basis is None:
            with torch.inference_mode(False), torch.enable_grad():
                zero = torch.zeros(self.dim, dtype=torch.float64)
                jacobian: Any = torch.autograd.functional.jacobian(self.exp, zero)
            basis = self.__dict__["_basis"] = jacobian.detach().permute(2, 0, 1)
        return basis.to(dtype=dtype or torch.get_default_dtype(), device=device)

    def hat(self, a: Tensor) -> Tensor:
        r"""The algebra matrix :math:`\sum_k a_k A_k`, of shape
        :obj:`(*, matrix_dim, matrix_dim)`, of vectors :obj:`(*, dim)`.
        """
        a = self._algebra(a)
        return (a[..., None, None] * self.generators(a.dtype, a.device)).sum(dim=-3)

    def vee(self, A: Tensor) -> Tensor:
        r"""The vector :obj:`(*, dim)` of an algebra matrix: the inverse of
        :meth:`hat`, by least squares for a matrix outside the algebra.
        """
        A = self._element(A, "A")
        basis = self.generators(torch.float64, A.device).flatten(1)
        size = basis.norm(dim=1, keepdim=True)
        inverse = (torch.linalg.pinv(basis / size) / size.t()).to(A.dtype)
        return (A.flatten(-2).unsqueeze(-1) * inverse).sum(dim=-2)

    def bracket(self, a: Tensor, b: Tensor) -> Tensor:
        r"""The bracket :math:`[a, b] = (\hat a \hat b - \hat b \hat a)^\vee`."""
        if self.commutative:
            return torch.zeros_like(self._algebra(a) * self._algebra(b))
        A, B = self.hat(a), self.hat(b)
        return self.vee(matmul(A, B) - matmul(B, A))

    def adjoint(self, u: Tensor) -> Tensor:
        r"""The matrix :math:`\mathrm{Ad}_u`, of shape :obj:`(*, dim, dim)`, with
        :math:`u \exp(a) u^{-1} = \exp(\mathrm{Ad}_u a)`.
        """
        u = self._element(u)
        if self.commutative:
            eye = torch.eye(self.dim, dtype=u.dtype, device=u.device)
            return eye.expand(*u.shape[:-2], -1, -1).clone()
        basis = self.generators(u.dtype, u.device)
        moved = matmul(matmul(u.unsqueeze(-3), basis), self.inverse(u).unsqueeze(-3))
        return self.vee(moved).mT

    # The group ----------------------------------------------------------------

    def identity(
        self, *shape: int, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        r"""The identity element, of shape :obj:`(*shape, matrix_dim, matrix_dim)`."""
        eye = torch.eye(self.matrix_dim, dtype=dtype, device=device)
        return eye.expand(*shape, -1, -1).clone()

    def inverse(self, u: Tensor) -> Tensor:
        r"""The inverse element :math:`u^{-1}`."""
        return torch.linalg.inv(self._element(u))

    def compose(self, u: Tensor, v: Tensor) -> Tensor:
        r"""The product :math:`uv`; leading shapes broadcast."""
        return matmul(self._element(u), self._element(v, "v"))

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        r"""The element :math:`v^{-1} u`, the same for :math:`gu` and :math:`gv`."""
        return self.compose(self.inverse(v), u)

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        r"""The algebra vector :math:`\log(v^{-1} u)`, of shape :obj:`(*, dim)`."""
        return self.log(self.relative(u, v))

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        r"""Random elements of shape :obj:`(*shape, matrix_dim, matrix_dim)`:
        rotations are Haar-uniform, other algebra coordinates are normal.

        Args:
            shape (int): The leading shape.
            generator (torch.Generator, optional): The source of randomness.
            scale (float, optional): Standard deviation of the normal coordinates,
                in the units of the points. (default: :obj:`1.0`)
            dtype (torch.dtype, optional): By default torch's default dtype.
            device (torch.device, optional): By default the generator's device.
        """
        return self.exp(scale * randn((*shape, self.dim), generator, dtype, device))

    # Action on points and lifting ----------------------------------------------

    def act(self, u: Tensor, x: Tensor) -> Tensor:
        r"""The moved points :math:`u \cdot x`: a linear map if :obj:`matrix_dim`
        equals :obj:`space_dim`, else an affine map in homogeneous coordinates.

        Args:
            u (torch.Tensor): Elements :obj:`(*, matrix_dim, matrix_dim)`.
            x (torch.Tensor): Points :obj:`(*, space_dim)`; leading shapes broadcast.
        """
        u, x = self._element(u), self._points(x, "x")
        n = self.space_dim
        moved = matvec(u[..., :n, :n], x)
        return moved if self.matrix_dim == n else moved + u[..., :n, n]

    def act_on_vectors(self, u: Tensor, v: Tensor) -> Tensor:
        r"""The moved vectors :math:`L_u v`, such as forces or differences of points,
        with :math:`L_u` the linear part of :meth:`act`; shapes are as there.
        """
        n = self.space_dim
        return matvec(self._element(u)[..., :n, :n], self._points(v, "v"))

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        r"""One lift :math:`(u, q)` a point, with
        :math:`u \cdot \mathrm{origin}(q) = \texttt{pos}`; the other lifts of the
        point are :math:`us` for :math:`s` in the stabilizer of the origin.

        Args:
            pos (torch.Tensor): Points of shape :obj:`(*, space_dim)`.

        Returns:
            tuple: :obj:`u` of shape :obj:`(*, matrix_dim, matrix_dim)` and
            :obj:`q` of shape :obj:`(*, orbit_dim)`.

        Raises:
            ValueError: If the group defines no lift.
        """
        need = "give it a `section`, a function from `pos` to `(u, q)`"
        raise ValueError(f"{self!r} defines no lift of points: {need}")

    def origin(self, q: Tensor) -> Tensor:
        r"""The reference point :obj:`(*, space_dim)` of orbits :obj:`(*, orbit_dim)`.

        Raises:
            ValueError: If the group defines no origin.
        """
        need = "give it an `origin`, a function from `q` to points"
        raise ValueError(f"{self!r} defines no origin of its orbits: {need}")

    def check_points(self, pos: Tensor) -> None:
        r"""Raises a :class:`ValueError` for points that are not of :obj:`space_dim`,
        or have no lift.
        """
        self._points(pos)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        r"""Haar-uniform random elements, of shape
        :obj:`(*shape, matrix_dim, matrix_dim)`, of the stabilizer of the origin.
        """
        self._needs_no_stabilizer("stabilizer_sample")
        if device is None and generator is not None:
            device = generator.device
        return self.identity(*shape, dtype=dtype, device=device)

    def stabilizer_grid(
        self, num: int, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        r"""Fixed, well spread elements, of shape
        :obj:`(num, matrix_dim, matrix_dim)`, of it, of which the first is the identity.
        """
        self._needs_no_stabilizer("stabilizer_grid")
        return self.identity(positive(num, "num"), dtype=dtype, device=device)

    # Pairs ----------------------------------------------------------------------

    @property
    def pair_dim(self) -> int:
        r"""The number :math:`\dim G + 2 \dim q` of entries of :meth:`pairs`."""
        return self.dim + 2 * self.orbit_dim

    def pairs(self, u_i: Tensor, q_i: Tensor, v_j: Tensor, q_j: Tensor) -> Tensor:
        r"""The invariants :math:`a_{ij} = [\log(v_j^{-1} u_i), q_i, q_j]` of pairs
        of lifted points.

        Args:
            u_i (torch.Tensor): Elements :obj:`(*, matrix_dim, matrix_dim)` of targets.
            q_i (torch.Tensor): Their orbit labels, :obj:`(*, orbit_dim)`.
            v_j (torch.Tensor): Elements of the sources.
            q_j (torch.Tensor): Their orbit labels.

        Returns:
            torch.Tensor: Of shape :obj:`(*, pair_dim)`; leading shapes broadcast.
        """
        a = self.relative_log(u_i, v_j)
        if self.orbit_dim == 0:
            return a
        shape = torch.broadcast_shapes(a.shape[:-1], q_i.shape[:-1], q_j.shape[:-1])
        return torch.cat([x.expand(*shape, x.shape[-1]) for x in (a, q_i, q_j)], dim=-1)

    def indexed_pairs(
        self, u: Tensor, q_u: Tensor, i: Tensor, v: Tensor, q_v: Tensor, j: Tensor
    ) -> Tensor:
        """:meth:`pairs` of :obj:`u[i]` and :obj:`v[j]`, for groups to override where
        part of the work can be done once an element."""
        targets = u.index_select(0, i), q_u.index_select(0, i)
        return self.pairs(*targets, v.index_select(0, j), q_v.index_select(0, j))

    def split_pairs(self, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""The three parts :math:`\log(v_j^{-1} u_i)`, :math:`q_i` and :math:`q_j` of
        :meth:`pairs`.
        """
        if pairs.dim() == 0 or pairs.shape[-1] != self.pair_dim:
            raise ValueError(
                f"`pairs` must have {self.pair_dim} entries in its last dimension for "
                f"{self!r}, got shape {tuple(pairs.shape)}"
            )
        a, q_i, q_j = pairs.split([self.dim, self.orbit_dim, self.orbit_dim], dim=-1)
        return a, q_i, q_j

    def distance(self, pairs: Tensor) -> Tensor:
        r"""The left-invariant distance

        .. math::
            d_{ij} = \alpha \| \log(v_j^{-1} u_i) \| + (1 - \alpha) \| q_i - q_j \|,

        or the group's own variant of it, from :meth:`pairs` of shape
        :obj:`(*, pair_dim)`. Its gradient at coincident pairs is 0.
        """
        a, q_i, q_j = self.split_pairs(pairs)
        return self.alpha * norm(a) + (1 - self.alpha) * norm(q_i - q_j)

    def embed(
        self, u: Tensor, q: Tensor, radius: float | Tensor | None = None
    ) -> Tensor | None:
        r"""A map :math:`\varphi` into Euclidean space whose distances are lower
        bounds: :math:`\| \varphi_i - \varphi_j \| \le d_{ij}`.

        Args:
            u (torch.Tensor): Elements :obj:`(*, matrix_dim, matrix_dim)`.
            q (torch.Tensor): Orbit labels :obj:`(*, orbit_dim)`.
            radius (float or torch.Tensor, optional): If given, the bound needs to hold
                only for pairs up to this distance. (default: :obj:`None`)

        Returns:
            torch.Tensor: Of shape :obj:`(*, k)`, or :obj:`None` if none is known.
        """
        return None

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor | None:
        r"""A map :math:`\psi` to :obj:`(*, k)`, of which subgroups build :meth:`embed`,
        with :math:`\| \psi(u) - \psi(v) \| \le | \log(v^{-1} u)_{\texttt{index}} |`, or
        :obj:`None` if none is known.
        """
        return None

    def subgroup(self, indices: tuple[int, ...]) -> LieGroup:
        r"""The :class:`~lieconv_pyg.groups.Subgroup` of chosen :meth:`generators`.

        Raises:
            ValueError: If these are not closed under the bracket.
        """
        from lieconv_pyg.groups.subgroup import Subgroup

        return Subgroup(self, indices)

    # Checks, repr and equality ----------------------------------------------------

    def _algebra(self, a: Tensor, name: str = "a") -> Tensor:
        return trailing_shape(a, name, (self.dim,), self)

    def _element(self, u: Tensor, name: str = "u") -> Tensor:
        return trailing_shape(u, name, (self.matrix_dim, self.matrix_dim), self)

    def _points(self, pos: Tensor, name: str = "pos") -> Tensor:
        return trailing_shape(pos, name, (self.space_dim,), self)

    def _needs_no_stabilizer(self, method: str) -> None:
        if self.stabilizer_dim > 0:
            raise NotImplementedError(
                f"{type(self).__name__} has `stabilizer_dim` {self.stabilizer_dim} "
                f"and must define `{method}`"
            )

    def arguments(self) -> dict[str, Any]:
        r"""The arguments that the group was made with. They are shown by
        :func:`repr` and compared by :obj:`==`; a subclass with arguments of its own
        adds them here.
        """
        return {"alpha": self.alpha}

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.arguments().items())
        return f"{type(self).__name__}({args})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.arguments() == other.arguments()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.arguments().items())))
