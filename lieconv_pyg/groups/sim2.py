"""Similarities of the plane."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import (
    Device,
    homogeneous,
    matmul,
    matvec,
    norm,
    rand,
    randn,
)
from lieconv_pyg.groups.planar import planar_angle, planar_matrix, random_angle
from lieconv_pyg.groups.series import exp_quotient, log_quotient

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class SIM2(LieGroup):
    r"""The rotations, scalings and translations of the plane, as homogeneous matrices
    :math:`\begin{pmatrix} r R & t \\ 0 & 1 \end{pmatrix}` with :math:`r > 0`.

    Algebra coordinates are :math:`(\log r, \theta, x, y)`. A point lifts to the
    translation by it from the origin 0, times any rotation and any scaling, and

    .. math::
        d_{ij} = \alpha \| (\log r_{ij}, \theta_{ij}) \| +
        (1 - \alpha) \| (x_{ij}, y_{ij}) \|

    where lengths are measured in the scale of the lifted points.

    Scalings are not compact: they have no uniform distribution, and lifts over the
    stabilizer draw :math:`\log r` uniformly from
    :math:`[-\texttt{window}, \texttt{window}]` about the unit of the points. With these
    a network is equivariant to scalings only approximately, however many lifts there
    are: a scaled example has lifts in a window that is shifted against its own. Exact
    are lifts that move with the points, and frames
    (:func:`~lieconv_pyg.lifting.lift_frames`), whose scale is the size of the example.

    Args:
        alpha (float, optional): Weight of scale and rotation in the distance.
            (default: :obj:`0.2`)
        window (float, optional): Half the width of the window of :math:`\log r` that
            lifts are drawn from. (default: :math:`\log 2`)
    """

    dim = 4
    orbit_dim = 0
    matrix_dim = 3
    space_dim = 2
    stabilizer_dim = 2

    def __init__(self, alpha: float = 0.2, window: float = math.log(2)) -> None:
        super().__init__(alpha)
        number = isinstance(window, (int, float)) and not isinstance(window, bool)
        if not number or not 0 <= window < math.inf:
            raise ValueError(
                f"`window` must be a finite number of at least 0, got {window!r}"
            )
        self.window = float(window)

    def exp(self, a: Tensor) -> Tensor:
        x, y = (a := self._algebra(a))[..., 0], a[..., 1]
        V = planar_matrix(*exp_quotient(x, y))
        scale = x.exp()
        linear = planar_matrix(scale * y.cos(), scale * y.sin())
        return homogeneous(linear, matvec(V, a[..., 2:]))

    def log(self, u: Tensor) -> Tensor:
        return self._log_parts(*self.parts(u))

    def parts(self, u: Tensor, name: str = "u") -> tuple[Tensor, Tensor]:
        r""":math:`r R` and :math:`t`."""
        u = self._element(u, name)
        return u[..., :2, :2], u[..., :2, 2]

    def _log_parts(self, linear: Tensor, translation: Tensor) -> Tensor:
        x, y = _scale(linear).log(), planar_angle(linear)
        V_inverse = planar_matrix(*log_quotient(x, y))
        part = torch.stack([x, y], dim=-1)
        return torch.cat([part, matvec(V_inverse, translation)], dim=-1)

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        out = torch.zeros(4, 3, 3, dtype=dtype, device=device)
        out[0, 0, 0] = out[0, 1, 1] = 1.0
        out[1, 0, 1], out[1, 1, 0] = -1.0, 1.0
        out[2, 0, 2] = out[3, 1, 2] = 1.0
        return out

    def inverse(self, u: Tensor) -> Tensor:
        linear, translation = self.parts(u)
        turned = _inverse(linear)
        return homogeneous(turned, -matvec(turned, translation))

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        return homogeneous(*self._relative(u, v))

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self._log_parts(*self._relative(u, v))

    def _relative(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        # The difference of the translations comes first, as for rigid motions.
        (A_u, t_u), (A_v, t_v) = self.parts(u), self.parts(v, "v")
        turned = _inverse(A_v)
        return matmul(turned, A_u), matvec(turned, t_u - t_v)

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        angle = random_angle(*shape, generator=generator, dtype=dtype, device=device)
        log_r = scale * randn(shape, generator, dtype, device)
        t = scale * randn((*shape, 2), generator, dtype, device)
        return homogeneous(_linear(log_r, angle), t)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        pos = self._points(pos)
        eye = torch.eye(2, dtype=pos.dtype, device=pos.device)
        return homogeneous(eye, pos), pos[..., :0]

    def origin(self, q: Tensor) -> Tensor:
        return q.new_zeros(*q.shape[:-1], 2)

    def stabilizer_sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        r"""Random elements of the stabilizer of the origin: rotations are uniform, and
        logarithms of scales are uniform in the window.
        """
        angle = random_angle(*shape, generator=generator, dtype=dtype, device=device)
        log_r = self.window * (2 * rand(shape, generator, dtype, device) - 1)
        A = _linear(log_r, angle)
        return homogeneous(A, A.new_zeros(2))

    def stabilizer_grid(
        self,
        num: int,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        # Equally spaced angles; scales by multiples of the golden ratio.
        k = torch.arange(positive(num, "num"), dtype=torch.float64)
        log_r = self.window * (2 * ((k * _GOLDEN_RATIO + 0.5) % 1) - 1)
        A = _linear(log_r, 2 * torch.pi / num * k)
        A = A.to(dtype=dtype or torch.get_default_dtype(), device=device)
        return homogeneous(A, A.new_zeros(2))

    def distance(self, pairs: Tensor) -> Tensor:
        a = self.split_pairs(pairs)[0]
        return self.alpha * norm(a[..., :2]) + (1 - self.alpha) * norm(a[..., 2:])

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor:
        # Translations are compared in the scale of the pair: no map of one point
        # bounds their distance from below.
        parts = [self.coordinate_bound(u, k) for k in (0, 1)]
        return self.alpha * torch.cat([part for part in parts if part is not None], -1)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor | None:
        linear, _ = self.parts(u)
        scale = _scale(linear).unsqueeze(-1)
        if index == 0:
            return scale.log()
        return linear[..., 0] / scale if index == 1 else None

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "window": self.window}


def _linear(log_r: Tensor, angle: Tensor) -> Tensor:
    """Rotations times a scale."""
    scale = log_r.exp()
    return planar_matrix(scale * angle.cos(), scale * angle.sin())


def _scale(linear: Tensor) -> Tensor:
    """The scale of rotations times a scale."""
    c = (linear[..., 0, 0] + linear[..., 1, 1]) / 2
    s = (linear[..., 1, 0] - linear[..., 0, 1]) / 2
    return norm(torch.stack([c, s], dim=-1))


def _inverse(linear: Tensor) -> Tensor:
    """The inverse of rotations times a scale, without a square that overflows."""
    scale = _scale(linear)[..., None, None]
    return linear.mT / scale / scale
