"""Subgroups by chosen generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.ops import Device


class Subgroup(LieGroup):
    r"""The subgroup of a group that some of its generators generate.

    Its elements are elements of :obj:`group`. Its algebra coordinates are those
    of :obj:`group` at :obj:`indices`, and its distance is
    :math:`\alpha \| \log(v_j^{-1} u_i) \| + (1 - \alpha) \| q_i - q_j \|`, with the
    :math:`\alpha` of :obj:`group`.

    If :obj:`group` is commutative and lifts are unique, then points lift to the
    subgroup too: the remaining algebra coordinates of the lifted point, in increasing
    order, are appended to its orbit label :math:`q`.

    Args:
        group (LieGroup): The whole group.
        indices (Sequence[int]): The generators that are kept, in their new order.

    Raises:
        ValueError: If the generators are not closed under the bracket.
    """

    def __init__(self, group: LieGroup, indices: Sequence[int]) -> None:
        if not isinstance(group, LieGroup):
            raise TypeError(f"`group` must be a LieGroup, got {type(group).__name__}")
        self.group = group
        self.indices = _check_indices(group, indices)
        self.complement = tuple(k for k in range(group.dim) if k not in self.indices)
        self.lifts = group.commutative and group.stabilizer_dim == 0
        self.dim = len(self.indices)
        self.orbit_dim = group.orbit_dim + (len(self.complement) if self.lifts else 0)
        self.matrix_dim = group.matrix_dim
        self.space_dim = group.space_dim
        self.commutative = group.commutative
        super().__init__(group.alpha)

    def _whole_algebra(self, a: Tensor, indices: tuple[int, ...]) -> Tensor:
        # The coordinates `a` at `indices` of the whole algebra, 0 elsewhere.
        columns = [*a.unbind(dim=-1), a.new_zeros(a.shape[:-1])]
        place = {k: n for n, k in enumerate(indices)}
        order = [place.get(k, len(indices)) for k in range(self.group.dim)]
        if not order:
            return a
        return torch.stack([columns[n] for n in order], dim=-1)

    def exp(self, a: Tensor) -> Tensor:
        return self.group.exp(self._whole_algebra(self._algebra(a), self.indices))

    def log(self, u: Tensor) -> Tensor:
        return self.group.log(u)[..., self.indices]

    def generators(
        self, dtype: torch.dtype | None = None, device: Device = None
    ) -> Tensor:
        return self.group.generators(dtype, device)[list(self.indices)]

    def vee(self, A: Tensor) -> Tensor:
        return self.group.vee(A)[..., self.indices]

    def inverse(self, u: Tensor) -> Tensor:
        return self.group.inverse(u)

    def compose(self, u: Tensor, v: Tensor) -> Tensor:
        return self.group.compose(u, v)

    def relative(self, u: Tensor, v: Tensor) -> Tensor:
        return self.group.relative(u, v)

    def relative_log(self, u: Tensor, v: Tensor) -> Tensor:
        return self.group.relative_log(u, v)[..., self.indices]

    def act(self, u: Tensor, x: Tensor) -> Tensor:
        return self.group.act(u, x)

    def act_on_vectors(self, u: Tensor, v: Tensor) -> Tensor:
        return self.group.act_on_vectors(u, v)

    def sample(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        r"""Random elements: samples of the whole group, of which the chosen algebra
        coordinates are kept.
        """
        whole = self.group.sample(
            *shape, generator=generator, scale=scale, dtype=dtype, device=device
        )
        return self.exp(self.log(whole))

    def check_points(self, pos: Tensor) -> None:
        self._can_lift()
        self.group.check_points(pos)

    def section(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        self._can_lift()
        u, q = self.group.section(pos)
        a = self.group.log(u)
        rest = a[..., self.complement]
        return self.exp(a[..., self.indices]), torch.cat([q, rest], dim=-1)

    def origin(self, q: Tensor) -> Tensor:
        self._can_lift()
        whole, rest = q.split([self.group.orbit_dim, len(self.complement)], dim=-1)
        moved = self.group.exp(self._whole_algebra(rest, self.complement))
        return self.group.act(moved, self.group.origin(whole))

    def embed(
        self,
        u: Tensor,
        q: Tensor,
        radius: float | Tensor | None = None,
    ) -> Tensor | None:
        bounds = [self.group.coordinate_bound(u, k) for k in self.indices]
        parts = [self.alpha * bound for bound in bounds if bound is not None]
        if len(parts) < len(bounds):
            return None
        return torch.cat([*parts, (1 - self.alpha) * q], dim=-1)

    def coordinate_bound(self, u: Tensor, index: int) -> Tensor | None:
        return self.group.coordinate_bound(u, self.indices[index])

    def _can_lift(self) -> None:
        if not self.lifts:
            raise ValueError(
                f"{self!r} cannot lift points: that needs a commutative whole group "
                f"with unique lifts; subclass LieGroup and define `section` instead"
            )

    def arguments(self) -> dict[str, Any]:
        return {"group": self.group, "indices": self.indices}


def _check_indices(group: LieGroup, indices: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(indices)
    if any(isinstance(k, bool) or not isinstance(k, int) for k in chosen):
        raise ValueError(f"`indices` must be integers, got {indices!r}")
    if len(set(chosen)) < len(chosen) or any(not 0 <= k < group.dim for k in chosen):
        raise ValueError(
            f"`indices` must be different numbers from 0 to {group.dim - 1} for "
            f"{group!r}, got {indices!r}"
        )
    others = [k for k in range(group.dim) if k not in chosen]
    basis = torch.eye(group.dim, dtype=torch.float64)[list(chosen)]
    brackets = group.bracket(basis[:, None], basis[None, :])
    if brackets[..., others].abs().gt(1e-9).any():
        raise ValueError(
            f"The generators {chosen} of {group!r} are not closed under the bracket, "
            f"so they generate no subgroup of dimension {len(chosen)}: add the "
            f"generators that their brackets contain to `indices`"
        )
    return chosen
