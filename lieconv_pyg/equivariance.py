"""How far a network is from what its symmetry promises."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.lifting import lift


@torch.no_grad()
def equivariance_error(
    model: Callable[..., Tensor],
    group: LieGroup,
    x: Tensor,
    pos: Tensor,
    batch: Tensor | None = None,
    *,
    num_lifts: int = 1,
    transport: bool = False,
    vectors: bool = False,
    num_elements: int = 4,
    scale: float = 1.0,
    seed: int = 0,
    in_vectors: Tensor | None = None,
) -> float:
    r"""The largest change of a network's output when all points are moved by random
    elements :math:`g` of a group,

    .. math::
        \max_g \frac{\| f(x, g \cdot p) - f(x, p) \|_\infty}{\| f(x, p) \|_\infty}.

    Outputs are invariant, or vectors that turn with the points; one for each example,
    or for each point.

    Args:
        model (Callable): Called as :obj:`model(x, pos, batch)`; with
            :obj:`transport=True` as :obj:`model(x, lifted=lifted)`. Put modules into
            evaluation mode.
        group (LieGroup): The group.
        x (torch.Tensor): Features :math:`(N, F)`.
        pos (torch.Tensor): Points :math:`(N, d)`.
        batch (torch.Tensor, optional): Batch vector :math:`(N)`.
        num_lifts (int, optional): Lifts of each point, for :obj:`transport`.
            (default: :obj:`1`)
        transport (bool, optional): If :obj:`True`, the lifted points :math:`u` are
            moved, :math:`u \to g u`, rather than the points lifted again: what is
            left is the error of the convolutions alone. (default: :obj:`False`)
        vectors (bool, optional): If :obj:`True`, outputs are vectors :math:`(*, d)`
            in space, and :math:`L_g f(x, p)` takes the place of :math:`f(x, p)`,
            with :math:`L_g` the linear part of the action: see :obj:`out_vectors` of
            :class:`LieResNet`. (default: :obj:`False`)
        num_elements (int, optional): How many :math:`g`. (default: :obj:`4`)
        scale (float, optional): Size of those parts of :math:`g` that are not
            compact, such as translations. (default: :obj:`1.0`)
        seed (int, optional): Draws :math:`g`. (default: :obj:`0`)
        in_vectors (torch.Tensor, optional): Vectors :math:`(N, V, d)` of the points,
            which move with them, :math:`v \to L_g v`, and which the model is given as
            :obj:`vectors`. (default: :obj:`None`)

    Returns:
        The error: rounding, about :math:`10^{-12}` in double and :math:`10^{-5}` in
        single precision, for a network that keeps its promise.
    """
    generator = torch.Generator(pos.device).manual_seed(seed)
    like: dict[str, Any] = {"dtype": pos.dtype, "device": pos.device}
    more = {} if in_vectors is None else {"vectors": in_vectors}
    if transport:
        lifted = lift(group, pos, batch, num_lifts, fixed=True)
        before = model(x, lifted=lifted, **more)
    else:
        before = model(x, pos, batch, **more)
    error = before.new_zeros(())
    for _ in range(num_elements):
        g = group.sample(1, generator=generator, scale=scale, **like)
        if in_vectors is not None:
            more = {"vectors": group.act_on_vectors(g.unsqueeze(1), in_vectors)}
        if transport:
            moved = lifted._replace(element=group.compose(g, lifted.element))
            after = model(x, lifted=moved, **more)
        else:
            after = model(x, group.act(g, pos), batch, **more)
        wanted = group.act_on_vectors(g, before) if vectors else before
        error = torch.maximum(error, (after - wanted).abs().max())
    # Not a number where the output is not: torch.maximum keeps it.
    return float(error / before.abs().max()) if error != 0 else 0.0
