"""Layers whose sharing of weights is learned from many tasks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap

from lieconv_pyg.groups.checks import positive


class SharedLinear(torch.nn.Module):
    r"""A linear layer :math:`y = W x` whose weights share parameters as a matrix
    :math:`U` says, of `"Meta-Learning Symmetries by Reparameterization"
    <https://arxiv.org/abs/2007.02933>`_ (MSR, Section 4):

    .. math::
        \mathrm{vec}(W) = U v, \qquad U \in \mathbb{R}^{m n \times k},

    with the rows of :math:`W` one after the other. In :class:`MAML` each task has
    parameters :math:`v` of its own, and all tasks have one :math:`U`: what its columns
    span is what the tasks have in common, such as convolutions.

    Args:
        in_features: The number :math:`n` of inputs.
        out_features: The number :math:`m` of outputs.
        size: The number :math:`k` of parameters :math:`v`.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If it is less than 1.
    """

    #: What the inner step leaves as it is.
    outer_parameters = ("sharing",)

    def __init__(self, in_features: int, out_features: int, size: int) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features")
        self.out_features = positive(out_features, "out_features")
        self.size = positive(size, "size")
        entries = in_features * out_features
        self.sharing = torch.nn.Parameter(torch.empty(entries, size))
        self.latent = torch.nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begins anew, with small random numbers."""
        torch.nn.init.normal_(self.sharing, std=0.01)
        torch.nn.init.normal_(self.latent, std=1 / self.out_features)

    @property
    def weight(self) -> Tensor:
        """The dense matrix :math:`W`, of shape :math:`(m, n)`."""
        return (self.sharing @ self.latent).view(self.out_features, self.in_features)

    @property
    def patterns(self) -> Tensor:
        """The columns of :math:`U` as matrices :math:`(k, m, n)`."""
        return self.sharing.t().view(self.size, self.out_features, self.in_features)

    @torch.no_grad()
    def set_patterns(self, patterns: Tensor) -> None:
        r"""Takes the columns of :math:`U` from matrices :math:`(k, m, n)`.

        Raises:
            ValueError: If they have another shape, or infinite or NaN entries.
        """
        shape = (self.size, self.out_features, self.in_features)
        if tuple(patterns.shape) != shape:
            raise ValueError(
                f"'patterns' must have shape {shape}, got {tuple(patterns.shape)}"
            )
        if not bool(patterns.isfinite().all()):
            raise ValueError("'patterns' has infinite or NaN entries")
        self.sharing.copy_(patterns.flatten(1).t())

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives for :math:`x` :math:`(*, n)`."""
        return F.linear(x, self.weight)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.in_features}, {self.out_features}, size={self.size}"


class LocalLinear(torch.nn.Module):
    r"""A linear layer in one dimension whose outputs see a window each,
    :math:`y_t = \sum_j w_{t j} x_{t + j}`: a convolution where all have one filter,
    :math:`w_{t j} = w_j`, else locally connected.

    Args:
        in_features: The number :math:`n` of inputs.
        kernel_size: The number :math:`l` of inputs in a window; there are
            :math:`n - l + 1` outputs.
        shared: Whether all outputs have one filter.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If it is less than 1, or there are fewer inputs than in a window.
    """

    def __init__(
        self, in_features: int, kernel_size: int = 3, shared: bool = True
    ) -> None:
        super().__init__()
        self.in_features = positive(in_features, "in_features")
        self.kernel_size = positive(kernel_size, "kernel_size")
        if in_features < kernel_size:
            raise ValueError(
                f"'in_features' must be at least the kernel size {kernel_size}, got "
                f"{in_features}"
            )
        self.out_features = in_features - kernel_size + 1
        self.shared = shared
        filters = 1 if shared else self.out_features
        self.filters = torch.nn.Parameter(torch.empty(filters, kernel_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begins anew, as :class:`torch.nn.Conv1d` does."""
        bound = 1 / math.sqrt(self.kernel_size)
        torch.nn.init.uniform_(self.filters, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives for :math:`x` :math:`(*, n)`; a :class:`ValueError` if
        it has another size."""
        if x.size(-1) != self.in_features:
            raise ValueError(
                f"'x' must have shape (*, {self.in_features}), got {tuple(x.shape)}"
            )
        return (x.unfold(-1, self.kernel_size, 1) * self.filters).sum(-1)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.in_features}, {self.kernel_size}, shared={self.shared}"


class MAML(torch.nn.Module):
    r"""A network that a gradient step adapts to a task, and that is trained so that it
    does well after that step: `"Model-Agnostic Meta-Learning for Fast Adaptation of
    Deep Networks" <https://arxiv.org/abs/1703.03400>`_, with a learned rate
    :math:`\alpha_l` for each parameter of the network,

    .. math::
        v_l' = v_l - \alpha_l \frac{\partial}{\partial v_l}
        \mathrm{MSE}(f_v(x_{\mathrm{support}}), y_{\mathrm{support}}).

    What a module names in its attribute :obj:`outer_parameters`, such as
    :class:`SharedLinear` its sharing, the step leaves as it is.

    Args:
        network: Of inputs :math:`(*, n)`, without state such as that of batch norms.
        lr: The :math:`\alpha_l` to begin with.
        num_support: The examples of a task that it is adapted with, the first ones.

    Raises:
        ValueError: If a number is out of range, or the network has no parameters for
            the step.
    """

    def __init__(
        self, network: torch.nn.Module, lr: float = 0.1, num_support: int = 1
    ) -> None:
        super().__init__()
        if not 0 < lr < math.inf:
            raise ValueError(f"'lr' must be positive and finite, got {lr}")
        self.num_support = positive(num_support, "num_support")
        outer = {
            f"{prefix}.{name}" if prefix else name
            for prefix, module in network.named_modules()
            for name in getattr(module, "outer_parameters", ())
        }
        parameters = dict(network.named_parameters())
        #: Names of the parameters that the step changes, in the order of the rates.
        self.inner = [name for name in parameters if name not in outer]
        if not self.inner:
            raise ValueError("'network' has no parameters that a task could change")
        self.network = network
        rates = parameters[self.inner[0]].new_full((len(self.inner),), float(lr))
        self.rates = torch.nn.Parameter(rates)

    def adapt(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        r"""The parameters :math:`v'` after the step on examples :math:`(B, n)` and
        :math:`(B, m)` of one task, by name.

        Raises:
            ValueError: If the network gives values of another shape.
        """
        parameters: dict[str, Tensor] = dict(self.network.named_parameters())
        inner = {name: parameters[name] for name in self.inner}

        def loss(values: dict[str, Tensor]) -> Tensor:
            out = functional_call(self.network, {**parameters, **values}, (x,))
            if out.shape != y.shape:
                raise ValueError(
                    f"'network' gives values of shape {tuple(out.shape)} for examples "
                    f"whose 'y' has {tuple(y.shape)}"
                )
            return F.mse_loss(out, y)

        slopes = grad(loss)(inner)
        return {
            name: value - rate * slopes[name]
            for (name, value), rate in zip(inner.items(), self.rates, strict=True)
        }

    def forward(self, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
        r"""What adapted networks give.

        Args:
            x: Support examples of tasks :math:`(T, B, n)`.
            y: Their values :math:`(T, B, m)`.
            query: Other examples :math:`(T, Q, n)`.

        Returns:
            Their values :math:`(T, Q, m)`.
        """

        def single(x: Tensor, y: Tensor, query: Tensor) -> Tensor:
            return functional_call(self.network, self.adapt(x, y), (query,))

        return vmap(single)(x, y, query)

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        r"""The mean square error on what follows the support examples, for each task.

        Args:
            x: Examples of tasks :math:`(T, B, n)`.
            y: Their values :math:`(T, B, m)`.

        Raises:
            ValueError: If shapes do not fit, there is no task, or nothing follows.
        """
        self.check(x, y)
        s = self.num_support
        out = self(x[:, :s], y[:, :s], x[:, s:])
        return (out - y[:, s:]).square().mean((1, 2))

    def check(self, x: Tensor, y: Tensor) -> None:
        """Checks what :meth:`errors` is given; it raises what that says."""
        if x.dim() != 3 or y.dim() != 3 or not len(x) or x.shape[:2] != y.shape[:2]:
            raise ValueError(
                "'x' and 'y' must have shapes (tasks, examples, n) and (tasks, "
                f"examples, m), got {tuple(x.shape)} and {tuple(y.shape)}"
            )
        s = self.num_support
        if x.size(1) <= s:
            raise ValueError(
                f"{s} examples are for support: 'x' must have more, got {x.size(1)}"
            )
