"""What keeps a learned basis from being trivial, redundant or no algebra."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lieconv_pyg.discovery.spans import brackets
from lieconv_pyg.groups.checks import nonnegative

IDENTITY = ("cosine", "difference", "none")


def identity_penalty(gx: Tensor, x: Tensor, kind: str = "cosine") -> Tensor:
    r"""What is largest where elements do nothing, of `LieGAN
    <https://arxiv.org/abs/2302.00236>`_ (Section 4.3).

    Args:
        gx: Moved vectors :math:`(*, n)`.
        x: The vectors.
        kind: :obj:`"cosine"`, :math:`| \overline{\cos(g x, x)} |`, the absolute value
            of the mean; or :obj:`"difference"`,
            :math:`1 - \min(\overline{\| g x - x \| / \| x \|}, 1)`.

    Raises:
        ValueError: If there is no such penalty.
    """
    if kind not in ("cosine", "difference"):
        raise ValueError(f"'kind' must be cosine or difference, got {kind!r}")
    if kind == "cosine":
        return F.cosine_similarity(gx, x, dim=-1).mean().abs()
    size = x.norm(dim=-1).clamp(min=torch.finfo(x.dtype).tiny)
    # Differences of norms, not norms of differences, have gradients at 0.
    away = (gx - x).square().sum(-1).add(1e-12).sqrt() / size
    return 1 - away.mean().clamp(max=1.0)


class IdentityPenalty:
    """A weighted :func:`identity_penalty`, or none.

    Raises:
        ValueError: If there is no such penalty, or the weight is negative or NaN.
    """

    def __init__(self, identity: str, identity_weight: float) -> None:
        if identity not in IDENTITY:
            raise ValueError(
                f"'identity' must be one of {', '.join(IDENTITY)}, got {identity!r}"
            )
        self.kind = identity
        self.weight = nonnegative(identity_weight, "identity_weight")

    def __call__(self, gx: Tensor, x: Tensor) -> Tensor | float:
        """What is added to a loss."""
        if self.kind == "none":
            return 0.0
        return self.weight * identity_penalty(gx, x, self.kind)


def channel_penalty(basis: Tensor) -> Tensor:
    r"""How parallel the channels are, :math:`\sum_{i < j} | \langle L_i, L_j \rangle |`
    of generators :math:`(c, n, n)`, each scaled to the Frobenius norm
    :math:`\sqrt n`."""
    flat = F.normalize(basis.flatten(1), dim=1) * basis.size(-1) ** 0.5
    return (flat @ flat.t()).triu(1).abs().sum()


def closure_penalty(basis: Tensor) -> Tensor:
    r"""Which share of the brackets of generators :math:`(c, n, n)` is outside of their
    span, the mean over :math:`i < j` of

    .. math::
        \frac{\| [L_i, L_j] - P [L_i, L_j] \|^2}{\| [L_i, L_j] \|^2},

    with the projection :math:`P`; 0 for one channel, and for brackets that vanish."""
    c = len(basis)
    if c < 2:
        return basis.new_zeros(())
    unit = F.normalize(basis.flatten(1), dim=1)
    i, j = torch.triu_indices(c, c, 1, device=basis.device)
    found = brackets(unit.view_as(basis))[i, j].flatten(1)
    # Channels that nearly coincide span what they span: no inverse of their products.
    gram = unit @ unit.t() + 1e-4 * torch.eye(c, dtype=unit.dtype, device=unit.device)
    inside = torch.linalg.solve(gram, unit @ found.t()).t() @ unit
    size = found.square().sum(1)
    return ((found - inside).square().sum(1) / (size + 1e-6)).mean()
