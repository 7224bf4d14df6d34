"""Changes of the frame of reference of classical mechanics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import Device, norm
from lieconv_pyg.groups.translation import dimension_repr


class Galilei(LieGroup):
    r"""The shifts of space and time and the boosts (uniform motions) of
    :math:`n`-dimensional space, as matrices

    .. math::
        \begin{pmatrix} I & b & a \\ 0 & 1 & s \\ 0 & 0 & 1 \end{pmatrix}

    on :math:`(x, t, 1)`: the Galilei group without rotations.

    Points are events of something that moves, :math:`(x, t, v)` with its place, time
    and velocity, :math:`2 n + 1` coordinates in this order. They are moved to

    .. math::
        x' = x + a + b t, \qquad t' = t + s, \qquad v' = v + b .

    Algebra coordinates are :math:`(a, s, b)`. A point lifts in one way, to the boost by
    its own velocity and the shift by its place and time, from the origin 0. Pairs are
    compared by what all observers agree about,

    .. math::
        \log(v_j^{-1} u_i) = \left( x_i - x_j - \tfrac{v_i + v_j}{2} (t_i - t_j),\;
        t_i - t_j,\; v_i - v_j \right),
        \qquad d_{ij} = \alpha \| b_{ij} \| + (1 - \alpha) \| (a_{ij}, s_{ij}) \|,

    exactly: all series end, as the algebra is nilpotent. Choose units in which places,
    times and velocities are of similar size.

    Args:
        n (int): The dimension of space.
        alpha (float, optional): Weight of the velocity in the distance.
            (default: :obj:`0.2`)
    """

    orbit_dim = 0

    def __init__(self, n: int, alpha: float = 0.2) -> None:
        self.n = positive(n, "n")
        self.dim = self.space_dim = 2 * n + 1
        self.matrix_dim = n + 2
        super().__init__(alpha)

    def _matrix(self, a: Tensor, s: Tensor, b: Tensor) -> Tensor:
        columns = torch.stack([b, a], dim=-1)
        eye = torch.eye(self.n, dtype=a.dtype, device=a.device).expand(
            *a.shape[:-1], self.n, self.n
        )
        time = torch.cat([torch.ones_like(s), s], dim=-1).unsqueeze(-2)
        last = torch.cat([torch.zeros_like(s), torch.ones_like(s)], -1).unsqueeze(-2)
        right = torch.cat([columns, time, last], dim=-2)
        left = torch.cat([eye, eye.new_zeros(*a.shape[:-1], 2, self.n)], dim=-2)
        return torch.cat([left, right], dim=-1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, s, b = x.split([self.n, 1, self.n], dim=-1)
        return a, s, b

    def parts(self, u: Tensor, name: str = "u") -> tuple[Tensor, Tensor, Tensor]:
        r"""The shifts :math:`a` and :math:`s` and the boost :math:`b`."""
        u, n = self._element(u, name), self.n
        return u[..., :n, n + 1], u[..., n, n + 1].unsqueeze(-1), u[..., :n, n]

    def exp(self, a: Tensor) -> Tensor:
        a, s, b = self._split(self._algebra(a))
        return self._matrix(a + b * s / 2, s, b)

    def log(self, u: Tensor) -> Tensor:
        a, s, b = self.parts(u)
        return torch.cat([a - b * s / 2, s, b], dim=-1)

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        n, m = self.n, self.matrix_dim
        out = torch.zeros(self.dim, m, m, dtype=dtype, device=device)
        eye = torch.eye(n, dtype=dtype, device=device)
        out[:n, :n, n + 1] = out[n + 1 :, :n, n] = eye
        out[n, n, n + 1] = 1.0
        return out

    def vee(self, A: Tensor) -> Tensor:
        return torch.cat(self.parts(A, "A"), dim=-1)

    def inverse(self, u: Tensor) -> Tensor:
        a, s, b = self.parts(u)
        return self._matrix(b * s - a, -s, -b)

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        (a, s, b), (c, t, d) = self.parts(u), self.parts(v, "v")
        shift = a - c - d * (s - t)
        return self._matrix(*_broadcast(shift, s - t, b - d))

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self._between(
            torch.cat(self.parts(u), -1), torch.cat(self.parts(v, "v"), -1)
        )

    def _between(self, x: Tensor, y: Tensor) -> Tensor:
        """The logarithm of the relative element of two events."""
        (a, s, b), (c, t, d) = self._split(x), self._split(y)
        shift = a - c - (b + d) * (s - t) / 2
        return torch.cat(_broadcast(shift, s - t, b - d), dim=-1)

    def indexed_pairs(
        self, u: Tensor, q_u: Tensor, i: Tensor, v: Tensor, q_v: Tensor, j: Tensor
    ) -> Tensor:
        target = torch.cat(self.parts(u), -1)
        source = target if u is v else torch.cat(self.parts(v, "v"), -1)
        return self._between(target.index_select(0, i), source.index_select(0, j))

    def act(self, u: Tensor, x: Tensor) -> Tensor:
        (a, s, b), (x, t, v) = self.parts(u), self._split(self._points(x, "x"))
        return torch.cat(_broadcast(x + a + b * t, t + s, v + b), dim=-1)

    def act_on_vectors(self, u: Tensor, v: Tensor) -> Tensor:
        _, _, b = self.parts(u)
        x, t, v = self._split(self._points(v, "v"))
        return torch.cat(_broadcast(x + b * t, t, v), dim=-1)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        return self._matrix(*self._split(pos)), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_zeros(*q.shape[:-1], self.space_dim)

    def distance(self, pairs: Tensor) -> Tensor:
        a = self.split_pairs(pairs)[0]
        near, boost = a.split([self.n + 1, self.n], dim=-1)
        return self.alpha * norm(boost) + (1 - self.alpha) * norm(near)

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        # Where two events are apart in time, their distance in space is another for
        # every observer: time and velocity alone bound it.
        _, s, b = self.parts(u)
        return torch.cat([(1 - self.alpha) * s, self.alpha * b], dim=-1)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor | None:
        _, s, b = self.parts(u)
        later = index - self.n
        return torch.cat([s, b], -1)[..., later, None] if later >= 0 else None

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n, **super().arguments()}

    def __repr__(self) -> str:
        return dimension_repr(self, self.n)


def _broadcast(*parts: Tensor) -> list[Tensor]:
    """The same leading shape for all."""
    shape = torch.broadcast_shapes(*(x.shape[:-1] for x in parts))
    return [x.expand(*shape, x.shape[-1]) for x in parts]
