r"""Functions of general square matrices, batched, for numeric groups.

These run in float64 and are not differentiated: see
:class:`~lieconv_pyg.groups.MatrixLieGroup` for how derivatives are obtained.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ATANH = tuple(1 / (2 * k + 1) for k in range(8))


def matrix_sqrt(x: Tensor, max_iter: int = 60) -> Tensor:
    r"""Principal square roots of matrices :obj:`(*, m, m)` by the iteration of Denman
    and Beavers (1976). Matrices on which it does not converge, because an eigenvalue
    lies on the negative real axis, give NaN.
    """
    root, inverse_root = x, torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    inverse_root = inverse_root.expand_as(x)
    change = torch.full_like(x[..., 0, 0], torch.inf)
    for _ in range(max_iter):
        inverse = torch.linalg.inv_ex(root)[0]
        new_root = (root + torch.linalg.inv_ex(inverse_root)[0]) / 2
        inverse_root = (inverse_root + inverse) / 2
        size = new_root.abs().amax(dim=(-2, -1))
        change = (new_root - root).abs().amax(dim=(-2, -1)) / size
        root = new_root
        if not bool((change > 1e-13).any()):  # False for NaN: these are lost already
            break
    lost = ~(change < 1e-6)
    return torch.where(lost[..., None, None], torch.nan, root)


def matrix_log(x: Tensor, max_roots: int = 40) -> Tensor:
    r"""Principal logarithms of matrices :obj:`(*, m, m)`, by inverse scaling and
    squaring: :math:`\log X = 2^k \log X^{1 / 2^k}`, with the last logarithm as
    :math:`2 \, \mathrm{artanh}\left((X - I)(X + I)^{-1}\right)`.

    See Higham, "Functions of Matrices" (2008), chapter 11. NaN where a matrix has
    no principal logarithm.
    """
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    scale = 1.0
    for _ in range(max_roots):
        if not bool(((x - eye).flatten(-2).norm(dim=-1) > 0.25).any()):
            break
        x, scale = matrix_sqrt(x), 2 * scale
    z = torch.linalg.solve_ex(x + eye, x - eye)[0]
    square, total = z @ z, z
    power = z
    for c in _ATANH[1:]:
        power = power @ square
        total = total + c * power
    return 2 * scale * total
