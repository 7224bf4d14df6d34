r"""The kernel of LieConv, an MLP over edges.

On the CPU its time goes into memory traffic: there are many edges of few channels. In
training with batch norm and swish, :class:`KernelNetwork` therefore goes through the
edges in pieces that stay in the cache, and keeps one tensor a layer, the output
:math:`z` of the linear map, where :class:`torch_geometric.nn.MLP` keeps three.
"""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import BatchNorm1d, SiLU
from torch_geometric.nn import MLP, BatchNorm, Linear

from lieconv_pyg.nn.eager import has_hooks, is_batched, is_plain_cpu

_PIECE = 1 << 14  # edges that are worked on together
_MANY = 1 << 15  # edges from which this is faster than layer by layer


class _FromFew(Linear):
    """A linear map of few channels: from a copy of its transposed weight, for which the
    gradient is several times faster."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t().contiguous())


class KernelNetwork(MLP):
    r"""An MLP with norm and activation after every linear map, the last too.

    Args:
        channels (Sequence[int]): Channels of the input, the hidden layers and the
            output.
        act (str or Callable, optional): Activation.
        **kwargs (optional): Arguments :obj:`norm` and :obj:`norm_kwargs` of
            :class:`torch_geometric.nn.MLP`.

    Shapes:
        - **input:** :math:`(E, F_{in})`
        - **output:** :math:`(E, F_{out})`
    """

    def __init__(
        self, channels: Sequence[int], act: str | Callable | None, **kwargs: Any
    ) -> None:
        super().__init__(list(channels), act=act, plain_last=False, **kwargs)
        self.lins[0] = _FromFew(channels[0], channels[1])

    def forward(self, x: Tensor) -> Tensor:
        """Applies the network."""
        if not self._in_pieces(x):
            return super().forward(x)
        layers = [(a, b.module) for a, b in zip(self.lins, self.norms, strict=True)]
        parameters = [
            p for a, b in layers for p in (a.weight, a.bias, b.weight, b.bias)
        ]
        eps = tuple(norm.eps for _, norm in layers)
        out, *moments = _Network.apply(x, eps, *parameters)
        unbias = x.size(0) / (x.size(0) - 1)
        with torch.no_grad():
            for i, (lin, norm) in enumerate(layers):
                norm.running_mean.lerp_(moments[2 * i] + lin.bias, norm.momentum)
                norm.running_var.lerp_(unbias * moments[2 * i + 1], norm.momentum)
                norm.num_batches_tracked.add_(1)
        return out

    def _in_pieces(self, x: Tensor) -> bool:
        """Whether this is the case that is computed by hand."""
        return (
            self.training
            and x.size(0) >= _MANY
            and x.dtype in (torch.float, torch.double)
            and type(self.act) is SiLU
            and len(self.lins) > 1
            and not any(self.dropout)
            and all(map(_is_plain, self.lins, self.norms))
            and not any(has_hooks(m) for m in self.modules() if m is not self)
            and is_plain_cpu(x)
        )


def _is_plain(lin: torch.nn.Module, norm: torch.nn.Module) -> bool:
    """Whether nothing was changed in a linear map and its batch norm."""
    if type(lin) not in (Linear, _FromFew) or type(norm) is not BatchNorm:
        return False
    module = norm.module
    return (
        type(module) is BatchNorm1d
        and module.training
        and module.affine
        and module.track_running_stats
        and module.momentum is not None
        and lin.bias is not None
    )


def _reference(x: Tensor, eps: Sequence[float], parameters: Sequence[Tensor]) -> Tensor:
    """The network in three lines."""
    quadruples = zip(*[iter(parameters)] * 4, strict=True)
    for (weight, bias, scale, shift), e in zip(quadruples, eps, strict=True):
        z = F.linear(x, weight, bias)
        x = F.silu(F.batch_norm(z, None, None, scale, shift, True, eps=e))
    return x


class _Layer:
    """A linear map with output z, and what follows: y = a z + c, out = swish(y)."""

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        shift: Tensor,
        source: Tensor,
        mean: Tensor,
        std: Tensor,
        first: bool,
    ) -> None:
        self.weight, self.source, self.first = weight, source, first
        self.mean, self.std = mean, std
        self.a = scale / std
        self.c = shift - mean * self.a
        # Sums over edges of dL/dy and z dL/dy.
        self.sum, self.moment = torch.zeros_like(mean), torch.zeros_like(mean)

    def z(self, piece: slice, memory: Tensor) -> Tensor:
        """The output of the linear map, which the first layer computes anew."""
        if not self.first:
            return self.source[piece]
        x = self.source[piece]
        out = memory[: len(x) * len(self.a)].view(len(x), -1)
        return torch.mm(x, self.weight.t(), out=out)

    def y(self, z: Tensor, memory: Tensor) -> Tensor:
        return torch.addcmul(self.c, z, self.a, out=memory[: z.numel()].view(z.shape))

    def out(self, piece: slice, memory: Tensor, more: Tensor) -> Tensor:
        return F.silu(self.y(self.z(piece, memory), more), inplace=True)

    def backward_swish(self, grad: Tensor, y: Tensor, z: Tensor, out: Tensor) -> None:
        """Writes dL/dy into :obj:`out`; :obj:`y` is used up."""
        torch.ops.aten.silu_backward(grad, y, grad_input=out)
        self.sum += out.sum(0)
        self.moment += torch.mul(out, z, out=y).sum(0)

    def norm_gradient(self) -> tuple[Tensor, Tensor]:
        """dL/dz = a dL/dy + slope z + shift: the slope and the shift, once the sums
        are complete."""
        number = self.source.size(0)
        slope = -self.a * self.scale_grad() / (self.std * number)
        return slope, -self.a * self.sum / number - slope * self.mean

    def scale_grad(self) -> Tensor:
        return (self.moment - self.mean * self.sum) / self.std


def _slices(x: Tensor) -> list[slice]:
    return [slice(i, i + _PIECE) for i in range(0, x.size(0), _PIECE)]


def _layers(
    x: Tensor, parameters: Sequence[Tensor], kept: Sequence[Tensor]
) -> list[_Layer]:
    """The layers of which means, standard deviations and, but for the first, z are
    known."""
    means, stds, zs = kept[::3], kept[1::3], [x, *kept[2::3]]
    quadruples = zip(*[iter(parameters)] * 4, strict=True)
    return [
        _Layer(weight, scale, shift, z, mean, std, z is x)
        for (weight, _, scale, shift), z, mean, std in zip(
            quadruples, zs, means, stds, strict=False
        )
    ]


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, eps: tuple[float, ...], *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        # Batch norm takes a bias away again: it is left out.
        weights = parameters[::4]
        memory = x.new_empty(2, _PIECE * max(map(len, weights)))
        mean, var = _first_moments(x, weights[0], memory[0])
        moments, kept = [mean, var], [mean, (var + eps[0]).sqrt()]
        for weight, e in zip(weights[1:], eps[1:], strict=True):
            before = _layers(x, parameters, kept)[-1]
            z = x.new_empty(x.size(0), weight.size(0))
            for piece in _slices(x):
                torch.mm(before.out(piece, *memory), weight.t(), out=z[piece])
            mean, var = torch.ops.aten.batch_norm_update_stats(z, None, None, 0.0)
            moments += [mean, var]
            kept += [z, mean, (var + e).sqrt()]
        last = _layers(x, parameters, kept)[-1]
        out = torch.empty_like(z)
        for piece in _slices(x):
            F.silu(last.y(last.z(piece, memory[0]), out[piece].view(-1)), inplace=True)
        ctx.eps = eps
        ctx.save_for_backward(x, *parameters, *kept)
        ctx.mark_non_differentiable(*moments)
        return out, *moments

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple:
        x, *rest = ctx.saved_tensors
        number = (len(rest) + 1) * 4 // 7
        parameters, kept = rest[:number], rest[number:]
        again = torch.is_grad_enabled()  # a derivative of this one will be wanted
        if again or is_batched(grad):
            with torch.enable_grad():
                # Others than the inputs themselves, which may depend on each other.
                inputs = [t.view_as(t) for t in (x, *parameters)]
                out = _reference(inputs[0], ctx.eps, inputs[1:])
            wanted = [t for t in inputs if t.requires_grad]
            found = iter(torch.autograd.grad(out, wanted, grad, create_graph=again))
            first, *others = [next(found) if t.requires_grad else None for t in inputs]
            return first, None, *others
        layers = _layers(x, parameters, kept)
        grad_x, grads = _backward(x, layers, grad, ctx.needs_input_grad[0])
        return grad_x, None, *grads


def _first_moments(x: Tensor, weight: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over all edges of the first linear map's output."""
    mean = x.mean(0)
    total = torch.zeros(len(weight), dtype=torch.double)
    for piece in _slices(x):
        centered = x[piece] - mean
        z = memory[: len(centered) * len(weight)].view(len(centered), -1)
        total += torch.mm(centered, weight.t(), out=z).square_().sum(0)
    return weight @ mean, (total / x.size(0)).to(x.dtype)


def _backward(
    x: Tensor, layers: Sequence[_Layer], grad: Tensor, need_x: bool
) -> tuple[Optional[Tensor], list[Tensor]]:
    """The gradients of the input and of the parameters."""
    grad_x = torch.empty_like(x) if need_x else None
    memory = x.new_empty(3, _PIECE * max(len(layer.a) for layer in layers))
    grads: list[Tensor] = []
    grad_y = torch.empty_like(grad, memory_format=torch.contiguous_format)
    for piece in _slices(x):
        z = layers[-1].z(piece, memory[2])
        y = layers[-1].y(z, memory[0])
        layers[-1].backward_swish(grad[piece], y, z, grad_y[piece])
    for layer, before in zip(layers[::-1], [*layers[-2::-1], None], strict=True):
        grad_weight = x.new_zeros(layer.weight.size(1), layer.weight.size(0))
        slope, shift = layer.norm_gradient()
        below = grad_y
        if before is not None and len(before.a) != len(layer.a):
            below = x.new_empty(x.size(0), len(before.a))
        for piece in _slices(x):
            grad_z = torch.addcmul(shift, grad_y[piece], layer.a, out=grad_y[piece])
            grad_z.addcmul_(layer.z(piece, memory[2]), slope)
            if before is None:
                grad_weight.addmm_(x[piece].t(), grad_z)
                if grad_x is not None:
                    torch.mm(grad_z, layer.weight, out=grad_x[piece])
            else:
                z = before.z(piece, memory[2])
                y = before.y(z, memory[0])
                h = torch.ops.aten.silu(y, out=memory[1][: y.numel()].view(y.shape))
                grad_weight.addmm_(h.t(), grad_z)
                torch.mm(grad_z, layer.weight, out=h)
                before.backward_swish(h, y, z, below[piece])
        no_bias = torch.zeros_like(layer.mean)
        grads = [grad_weight.t(), no_bias, layer.scale_grad(), layer.sum, *grads]
        grad_y = below
    return grad_x, grads
