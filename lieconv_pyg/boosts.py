"""Boosts between rest frames."""

from __future__ import annotations

import torch
from torch import Tensor


def from_rest_frame(p: Tensor, frame: Tensor) -> Tensor:
    r"""The momenta :math:`B(P) p` of momenta :math:`p` in the rest frame of
    :math:`P`, with the boost along :math:`\mathbf{P}` that takes :math:`(m, 0, 0, 0)`
    to :math:`P`.

    Args:
        p: Momenta :math:`(E, p_x, p_y, p_z)`, :math:`(*, 4)`.
        frame: Momenta :math:`P` with a mass, :math:`(*, 4)`.
    """
    energy, total = frame[..., :1], frame[..., 1:]
    size = total.norm(dim=-1, keepdim=True)
    mass = ((energy - size) * (energy + size)).sqrt()
    along = (p[..., 1:] * total).sum(dim=-1, keepdim=True)
    own = p[..., :1]
    moved = p[..., 1:] + total * (along / (energy + mass) + own) / mass
    return torch.cat([(energy * own + along) / mass, moved], dim=-1)


def to_rest_frame(p: Tensor, frame: Tensor) -> Tensor:
    r"""The momenta :math:`B(P)^{-1} p` in the rest frame of :math:`P`, see
    :func:`from_rest_frame`."""
    return from_rest_frame(p, frame * frame.new_tensor([1, -1, -1, -1]))
