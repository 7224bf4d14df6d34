"""What a basis does to each of several vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.discovery.spans import matrices, seen_span
from lieconv_pyg.groups.checks import positive, share


def shared_block(
    basis: Tensor, size: int, data: Tensor | None = None, tolerance: float = 0.2
) -> Tensor:
    r"""The generators of size :math:`m` by which a basis moves each of the vectors that
    points consist of, such as positions and momenta of bodies, if it moves all of them
    alike: the mean of the diagonal blocks.

    Args:
        basis: Generators :math:`(c, n, n)`, with :math:`n` a multiple of :math:`m`.
        size: The size :math:`m`.
        data: Points :math:`(N, n)`. Of what generators do, only what shows on the data
            counts: where :math:`q_2 = -q_1`, mixing them is not seen. By default
            all counts.
        tolerance: How far, over their norms, the generators may be from copies of that
            block.

    Raises:
        TypeError: If the basis is not a floating-point tensor.
        ValueError: If shapes do not fit, or the basis does not move all vectors alike.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> shared_block(torch.block_diag(turn, turn).unsqueeze(0), 2)
        tensor([[[ 0., -1.],
                 [ 1.,  0.]]], dtype=torch.float64)
    """
    basis = matrices(basis, "basis")
    n, copies = basis.size(1), basis.size(1) // positive(size, "size")
    if n != copies * size:
        raise ValueError(f"'size' must divide {n}, got {size}")
    share(tolerance, "tolerance")
    seen = seen_span(data, n)
    # The copies of a block that do to the data what the basis does, in the mean.
    units = torch.eye(size**2, dtype=basis.dtype).view(-1, size, size)
    copied = torch.stack([torch.block_diag(*[unit] * copies) for unit in units])
    shown, wanted = (copied @ seen).flatten(1).t(), (basis @ seen).flatten(1).t()
    found = torch.linalg.lstsq(shown, wanted, driver="gelsd").solution
    lengths = wanted.norm(dim=0)
    if not bool((lengths > 1e-9 * basis.flatten(1).norm(dim=1).max()).all()):
        raise ValueError(
            f"'basis' has a generator that is zero, or does nothing to 'data', number "
            f"{int(lengths.argmin())}: leave it out"
        )
    off = (shown @ found - wanted).norm(dim=0) / lengths
    if not bool((off <= tolerance).all()):
        raise ValueError(
            f"'basis' does not move all vectors of size {size} alike: generators are "
            f"{float(off.max()):.2g} of their norm away from copies of one block"
        )
    return found.t().reshape(-1, size, size)
