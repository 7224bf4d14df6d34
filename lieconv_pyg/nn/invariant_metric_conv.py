from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn import Linear, ReLU, Sequential
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.nn.norms import make_norm


def signed_log(s: Tensor) -> Tensor:
    r"""The function :math:`\psi(s) = \mathrm{sign}(s) \log(1 + |s|)`, with its slope of
    1 at 0 too."""
    return torch.where(s >= 0, s.clamp(min=0).log1p(), -(-s.clamp(max=0)).log1p())


class InvariantMetricConv(MessagePassing):
    r"""A convolution whose kernel depends on points through invariants of a metric
    alone, the block of `"An Efficient Lorentz Equivariant Graph Neural Network for Jet
    Tagging" <https://arxiv.org/abs/2201.08187>`_ (Gong et al., JHEP 2022) with any
    metric in place of Minkowski's, as in `"Generative Adversarial Symmetry Discovery"
    <https://arxiv.org/abs/2302.00236>`_ (Yang et al., ICML 2023).

    .. math::
        \mathbf{m}_{ij} &= \phi_e \big( \mathbf{h}_i, \mathbf{h}_j,
        \psi(\langle \mathbf{x}_i - \mathbf{x}_j, \mathbf{x}_i - \mathbf{x}_j
        \rangle_J), \psi(\langle \mathbf{x}_i, \mathbf{x}_j \rangle_J) \big),
        \qquad \psi(s) = \mathrm{sign}(s) \log(1 + |s|)

        \mathbf{x}_i' &= \mathbf{x}_i + \frac{c}{|\mathcal{N}(i)|}
        \sum_{j \in \mathcal{N}(i)} \mathrm{clamp}(\phi_x(\mathbf{m}_{ij}))
        (\mathbf{x}_i - \mathbf{x}_j)

        \mathbf{h}_i' &= \mathbf{h}_i + \phi_h \Big( \mathbf{h}_i,
        \sum_{j \in \mathcal{N}(i)} \sigma(\phi_m(\mathbf{m}_{ij})) \, \mathbf{m}_{ij},
        \mathbf{s}_i \Big)

    with :math:`\langle \mathbf{u}, \mathbf{v} \rangle_J = \mathbf{u}^\top J
    \mathbf{v}`. Whatever linear map keeps :math:`J`, for :math:`J = \mathrm{diag}(1,
    -1, -1, -1)` a boost, rotation or reflection, leaves the features as they are and
    moves the points that come out along with those that go in. Squares may be negative:
    there is no root of them. It is the way to a symmetry that was discovered
    (:func:`~lieconv_pyg.discovery.invariant_metric`), where points cannot be lifted.

    Points keep their own precision, in which the invariants are computed: give them in
    float64 where they are large or their squares small, whatever the weights are in.

    Args:
        in_channels (int): Channels of each point, in and out.
        metric (Tensor): The symmetric matrix :math:`J`, :math:`(n, n)`, or several
            :math:`(k, n, n)`, each of which gives invariants of its own; or what has
            one as :obj:`metric`, such as an
            :class:`~lieconv_pyg.discovery.InvariantMetric`. It is saved in the
            state_dict.
        hidden_channels (int, optional): Channels of the messages and of the hidden
            layers. (default: :obj:`in_channels`)
        num_scalars (int, optional): How many scalars :math:`\mathbf{s}_i` of each point
            are given again to each layer. (default: :obj:`0`)
        update_pos (bool, optional): Whether points move; where only features are read,
            the last layer's need not. (default: :obj:`True`)
        step (float, optional): The number :math:`c`. (default: :obj:`5e-3`)
        bound (float, optional): Where :math:`\phi_x` is clamped. The numbers are, and
            not the coordinates they multiply, which would break the symmetry.
            (default: :obj:`100.0`)
        norm (str, optional): Normalization in :math:`\phi_e` and :math:`\phi_h`:
            :obj:`"batch_norm"`, :obj:`"layer_norm"` or :obj:`None`.
            (default: :obj:`"batch_norm"`)

    Shapes:
        - **input:** features :math:`(N, F)`, points :math:`(N, n)`, edge indices
          :math:`(2, E)`, node scalars :math:`(N, F_s)` *(if there are any)*
        - **output:** features :math:`(N, F)`, points :math:`(N, n)`

    Raises:
        TypeError: If the metric is no floating-point tensor.
        ValueError: If the metric is not symmetric, finite and other than zero, or a
            size is out of range.

    Example:
        >>> minkowski = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
        >>> conv = InvariantMetricConv(16, minkowski)
        >>> h, p = conv(h, p, edge_index)
    """

    metric: Tensor

    def __init__(
        self,
        in_channels: int,
        metric: Any,
        hidden_channels: Optional[int] = None,
        num_scalars: int = 0,
        update_pos: bool = True,
        step: float = 5e-3,
        bound: float = 100.0,
        norm: Optional[str] = "batch_norm",
        **kwargs: Any,
    ) -> None:
        super().__init__(aggr="sum", **kwargs)
        width = in_channels if hidden_channels is None else hidden_channels
        self.in_channels = positive(in_channels, "in_channels")
        self.hidden_channels = positive(width, "hidden_channels")
        if num_scalars < 0:
            raise ValueError(f"'num_scalars' must not be negative (got {num_scalars})")
        if not bound > 0:
            raise ValueError(f"'bound' must be positive (got {bound})")
        self.num_scalars = num_scalars
        self.step = step
        self.bound = bound
        self.register_buffer("metric", check_metric(metric))
        invariants = 2 * self.metric.size(0)
        self.edge_mlp = Sequential(
            Linear(2 * in_channels + invariants, width, bias=norm is None),
            make_norm(norm, width),
            ReLU(),
            Linear(width, width),
            ReLU(),
        )
        self.gate = Linear(width, 1)
        self.node_mlp = Sequential(
            Linear(in_channels + width + num_scalars, width),
            make_norm(norm, width),
            ReLU(),
            Linear(width, in_channels),
        )
        self.pos_mlp = None
        if update_pos:
            self.pos_mlp = Sequential(
                Linear(width, width), ReLU(), Linear(width, 1, bias=False)
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        for module in (self.edge_mlp, self.gate, self.node_mlp, self.pos_mlp):
            reset(module)
        if self.pos_mlp is not None:
            (weight,) = self.pos_mlp[-1].parameters()
            torch.nn.init.xavier_uniform_(weight, gain=1e-3)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        node_attr: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor]:
        r"""Updates features and points.

        Args:
            x: Features :math:`(N, F)`.
            pos: Points :math:`(N, n)`.
            edge_index: :math:`(2, E)`, sources :math:`j` first.
            node_attr: The scalars :math:`\mathbf{s}_i`, :math:`(N, F_s)`.

        Raises:
            ValueError: If shapes do not fit the layer or each other.
        """
        self._check(x, pos, node_attr)
        total, shift = self.propagate(edge_index, x=x, pos=pos)
        if self.pos_mlp is not None:
            pos = pos + self.step * shift
        inputs = [x, total] if node_attr is None else [x, total, node_attr]
        return x + self.node_mlp(torch.cat(inputs, dim=1)), pos

    def _check(self, x: Tensor, pos: Tensor, node_attr: Optional[Tensor]) -> None:
        given = 0 if node_attr is None else node_attr.size(-1)
        for name, found, built in (
            ("x", x.size(-1), self.in_channels),
            ("pos", pos.size(-1), self.metric.size(-1)),
            ("node_attr", given, self.num_scalars),
        ):
            if found != built:
                raise ValueError(
                    f"'{name}' has {found} channels where the layer was built for "
                    f"{built}"
                )
        rows = [len(value) for value in (x, pos, node_attr) if value is not None]
        if min(rows) < max(rows):
            raise ValueError(
                f"'x', 'pos' and 'node_attr' must have a row for each point (got "
                f"{', '.join(map(str, rows))})"
            )

    def message(
        self, x_i: Tensor, x_j: Tensor, pos_i: Tensor, pos_j: Tensor
    ) -> tuple[Tensor, Optional[Tensor]]:
        """The gated message of an edge, and the target's shift where points move."""
        offset = pos_i - pos_j
        squares, products = self.products(offset, offset), self.products(pos_i, pos_j)
        invariants = signed_log(torch.cat([squares, products], dim=1)).to(x_i.dtype)
        message = self.edge_mlp(torch.cat([x_i, x_j, invariants], dim=1))
        shift = None
        if self.pos_mlp is not None:
            weight = self.pos_mlp(message).clamp(-self.bound, self.bound)
            shift = offset * weight.to(offset.dtype)
        return message * self.gate(message).sigmoid(), shift

    def products(self, u: Tensor, v: Tensor) -> Tensor:
        r"""The products :math:`\langle \mathbf{u}, \mathbf{v} \rangle_J` of vectors
        :math:`(*, n)` in each metric, :math:`(*, k)`."""
        return torch.einsum("...a,kab,...b->...k", u, self.metric.to(u.dtype), v)

    def aggregate(
        self,
        inputs: tuple[Tensor, Optional[Tensor]],
        index: Tensor,
        ptr: Optional[Tensor] = None,
        dim_size: Optional[int] = None,
    ) -> tuple[Tensor, Optional[Tensor]]:
        """The sum of messages, and the mean of shifts."""
        message, shift = inputs
        total = super().aggregate(message, index, ptr, dim_size)
        if shift is not None:
            shift = scatter(shift, index, 0, dim_size, "mean")
        return total, shift

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, "
            f"metric={tuple(self.metric.shape)}, "
            f"hidden_channels={self.hidden_channels})"
        )


def check_metric(metric: Any) -> Tensor:
    r"""The matrices :math:`(k, n, n)` of a metric, a copy.

    Raises:
        TypeError: If it is no floating-point tensor, and has none as :obj:`metric`.
        ValueError: If it has another shape, is not symmetric, not finite, or zero.
    """
    value = getattr(metric, "metric", metric)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(
            "'metric' must be a floating-point tensor of shape (n, n) or (k, n, n), or "
            f"have one as 'metric' (got {type(metric).__name__})"
        )
    stack = value.detach().clone()
    stack = stack.unsqueeze(0) if stack.dim() == 2 else stack
    if stack.dim() != 3 or stack.size(1) != stack.size(2) or stack.numel() == 0:
        raise ValueError(
            f"'metric' must be of shape (n, n) or (k, n, n) (got {tuple(value.shape)})"
        )
    if not bool(stack.isfinite().all()):
        raise ValueError("'metric' has infinite or NaN entries")
    for number, matrix in enumerate(stack):
        which = "'metric'" if len(stack) == 1 else f"'metric', number {number},"
        size = float(matrix.abs().max())
        if size == 0:
            raise ValueError(f"{which} is zero: nothing would be seen of the points")
        if float((matrix - matrix.mT).abs().max()) > 1e-5 * size:
            raise ValueError(
                f"{which} is not symmetric: squares see its symmetric part alone, "
                "(metric + metric.mT) / 2, and those of a symplectic form are zero"
            )
    return (stack + stack.mT) / 2
