"""Tasks that have a sharing of weights in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lieconv_pyg.groups.checks import positive

#: Kinds of tasks, and how many filters they mix.
KINDS = {"convolution": 1, "rank2": 2, "rank5": 5}


class SharingTasks(Dataset[tuple[Tensor, Tensor]]):
    r"""Examples of many tasks, each with a linear map :math:`y = W x` of its own.

    Args:
        x: The examples :math:`(T, B, n)`.
        y: Their values :math:`(T, B, m)`.
        patterns: Matrices :math:`(k, m, n)` whose span has the :math:`W` of all tasks,
            if they are known, to judge by.
        name: Of the tasks.

    Raises:
        TypeError: If examples, values or patterns are not floating point.
        ValueError: If shapes do not fit, there are none, or entries are infinite or
            NaN.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        patterns: Tensor | None = None,
        name: str = "tasks",
    ) -> None:
        _check(x, "x", "(tasks, examples, n)")
        _check(y, "y", "(tasks, examples, m)")
        if x.shape[:2] != y.shape[:2]:
            raise ValueError(
                f"'x' has {x.size(0)} tasks of {x.size(1)} examples, 'y' has "
                f"{y.size(0)} of {y.size(1)}"
            )
        if patterns is not None:
            shape = f"(k, {y.size(2)}, {x.size(2)})"
            _check(patterns, "patterns", shape, (y.size(2), x.size(2)))
        self.x, self.y, self.patterns, self.name = x, y, patterns, name

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int | Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def split(self, num_first: int) -> tuple[SharingTasks, SharingTasks]:
        r"""The first tasks and the others.

        Raises:
            ValueError: If one of the two has none.
        """
        if not 0 < num_first < len(self):
            raise ValueError(
                f"'num_first' must be between 0 and the {len(self)} tasks, got "
                f"{num_first}"
            )
        first, last = (
            SharingTasks(self.x[part], self.y[part], self.patterns, self.name)
            for part in (slice(num_first), slice(num_first, None))
        )
        return first, last

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)})"


def _check(
    value: Tensor, name: str, shape: str, last: tuple[int, ...] | None = None
) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"'{name}' must be a floating-point tensor")
    fits = value.dim() == 3 and value.numel() > 0
    if not fits or last not in (None, tuple(value.shape[1:])):
        raise ValueError(f"'{name}' must have shape {shape}, got {tuple(value.shape)}")
    if not bool(value.isfinite().all()):
        raise ValueError(f"'{name}' has infinite or NaN entries")


def synthetic_tasks(
    kind: str,
    num_tasks: int = 10_000,
    num_examples: int = 20,
    length: int = 70,
    kernel_size: int = 3,
    seed: int = 0,
) -> SharingTasks:
    r"""The tasks in one dimension of `"Meta-Learning Symmetries by Reparameterization"
    <https://arxiv.org/abs/2007.02933>`_ (Section 5.1): inputs :math:`x \sim N(0, I)`
    and

    .. math::
        y_t = \sum_{r, j} a_{t r} \, w_{r j} \, x_{t + j},

    with filters :math:`w_{r j} \sim N(0, 1)` of each task, and mixing weights
    :math:`a_t`, softmax of normal numbers, that all tasks have in common.

    Args:
        kind: :obj:`"convolution"`, with one filter for all outputs; or :obj:`"rank2"`
            or :obj:`"rank5"`, locally connected, with two or five filters.
        num_tasks: The number of tasks.
        num_examples: Examples of each.
        length: The number of inputs.
        kernel_size: The length of a filter.
        seed: Of the random numbers.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If there is no such kind, or a number is out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"'kind' must be one of {', '.join(KINDS)}, got {kind!r}")
    shape = positive(num_tasks, "num_tasks"), positive(num_examples, "num_examples")
    if positive(length, "length") < positive(kernel_size, "kernel_size"):
        raise ValueError(
            f"'length' must be at least the kernel size {kernel_size}, got {length}"
        )
    random = torch.Generator().manual_seed(seed)
    rank, outputs = KINDS[kind], length - kernel_size + 1
    mixing = torch.randn(outputs, rank, generator=random).softmax(1)
    filters = torch.randn(num_tasks, rank, kernel_size, generator=random)
    x = torch.randn(*shape, length, generator=random)
    weights = torch.einsum("mr,trj->tmj", mixing, filters)
    y = torch.einsum("temj,tmj->tem", x.unfold(2, kernel_size, 1), weights)
    rows = torch.arange(outputs)
    patterns = torch.zeros(rank, kernel_size, outputs, length)
    for j in range(kernel_size):
        patterns[:, j, rows, rows + j] = mixing.t()
    name = "convolution" if rank == 1 else f"locally connected, rank {rank}"
    return SharingTasks(x, y, patterns.flatten(0, 1), name)
