"""Batch norm over the rows of all processes."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor
from torch.nn import BatchNorm1d, Module
from torch_geometric.nn import BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each process's output depends on each one's input,
    so the gradient is a sum over all processes too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.apply(grad)


class SyncBatchNorm1d(BatchNorm1d):
    r"""A :class:`torch.nn.BatchNorm1d` that in training takes mean and variance over
    the rows of all processes, of which each may have another number, or none.

    It runs on the CPU, which :class:`torch.nn.SyncBatchNorm` does not, and its
    gradient can be differentiated again. In evaluation, and where
    :mod:`torch.distributed` is not in use, it is the batch norm that it replaces; the
    :obj:`state_dict` has the same keys. In training all processes must call it.

    With :attr:`allow_single_element` a single row in all is normalised with the
    running statistics, as in :class:`torch_geometric.nn.BatchNorm`.
    """

    allow_single_element = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalises the rows."""
        if not self.training:
            return super().forward(x)
        if not (dist.is_available() and dist.is_initialized()):
            if self.allow_single_element and x.size(0) <= 1:
                return self._with_running_statistics(x)
            return super().forward(x)
        self._check_input_dim(x)
        return self._over_all_processes(x)

    def _with_running_statistics(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)

    def _over_all_processes(self, x: Tensor) -> Tensor:
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(x.dim())]
        dtype = torch.promote_types(x.dtype, torch.float32)
        rows = x.to(dtype)

        # In double precision, in which the number of rows is exact.
        num = rows.new_tensor([x.numel() // x.size(1)], dtype=torch.double)
        total = _Sum.apply(torch.cat([rows.sum(dims, dtype=torch.double), num]))
        count = total[-1].detach()
        if x.numel() <= x.size(1) and not self.allow_single_element and count <= 1:
            raise ValueError(
                f"training needs more than 1 row over all processes, got {int(count)}"
            )
        center = total[:-1] / count.clamp(min=1)
        alone = count <= 1
        if self.allow_single_element:
            # Decided without a look at the count, for which a GPU would have to wait.
            center = torch.where(alone, cast(Tensor, self.running_mean), center)
        rows = rows - center.to(dtype).view(shape)
        squares = _Sum.apply(rows.square().sum(dims, dtype=torch.double))
        var = squares / count.clamp(min=1)
        if self.allow_single_element:
            var = torch.where(alone, cast(Tensor, self.running_var), var)
        self._update(center.detach(), squares.detach(), count)
        rows = rows * (var + self.eps).rsqrt().to(dtype).view(shape)
        if self.weight is not None:
            rows = rows * self.weight.view(shape) + self.bias.view(shape)
        return rows.to(x.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, squares: Tensor, count: Tensor) -> None:
        """Running statistics, as torch has them: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None:
            return
        several = count > 1
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(several)
        factor: Any = self.momentum
        if factor is None:  # the mean over all batches
            factor = 1 / self.num_batches_tracked.clamp(min=1).double()
        factor = several.double() * factor
        var = squares / (count - 1).clamp(min=1)
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            running.copy_(running * (1 - factor) + new * factor)


def _exchange(old: BatchNorm1d, cls: type[BatchNorm1d]) -> BatchNorm1d:
    """The same batch norm in another class, with the very same tensors."""
    new = cls(0, old.eps, old.momentum, old.affine, old.track_running_stats)
    new.num_features = old.num_features
    new._parameters = old._parameters
    new._buffers = old._buffers
    return new.train(old.training)


class BatchNormSync(LayerSync):
    r"""Has Lightning put :class:`SyncBatchNorm1d` in the place of each
    :class:`torch.nn.BatchNorm1d` where several processes train together.

    Also those within :class:`torch_geometric.nn.BatchNorm`. Parameters stay the same
    objects.
    """

    def apply(self, model: Module) -> Module:
        """Puts them in, in place."""
        self._replace(model, BatchNorm1d, SyncBatchNorm1d)
        for module in model.modules():
            inner = getattr(module, "module", None)
            if isinstance(module, BatchNorm) and isinstance(inner, SyncBatchNorm1d):
                # Else a process with a single row would leave the others waiting.
                inner.allow_single_element = module.allow_single_element
                module.allow_single_element = False
        return model

    def revert(self, model: Module) -> Module:
        """Puts the former ones back, in place."""
        for module in model.modules():
            inner = getattr(module, "module", None)
            if isinstance(module, BatchNorm) and isinstance(inner, SyncBatchNorm1d):
                module.allow_single_element = inner.allow_single_element
        self._replace(model, SyncBatchNorm1d, BatchNorm1d)
        return model

    @staticmethod
    def _replace(
        model: Module, before: type[BatchNorm1d], after: type[BatchNorm1d]
    ) -> None:
        made: dict[Module, BatchNorm1d] = {}  # a shared one stays shared
        for parent in list(model.modules()):
            for name, child in parent._modules.items():
                if child is not None and type(child) is before:
                    if child not in made:
                        made[child] = _exchange(child, after)
                    parent._modules[name] = made[child]
