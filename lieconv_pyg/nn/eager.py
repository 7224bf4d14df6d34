"""When code that is written out by hand may take the place of torch's."""

import torch
from torch import Tensor


def is_batched(*tensors: Tensor) -> bool:
    """Whether autograd takes many gradients at once (:obj:`is_grads_batched`), which
    knows no writing into parts of a tensor."""
    return any(map(torch._C._functorch.is_legacy_batchedtensor, tensors))


def is_forward_mode() -> bool:
    """Whether derivatives are taken forward, as by :func:`torch.func.jvp`."""
    return torch.autograd.forward_ad._current_level >= 0


def is_plain_cpu(x: Tensor) -> bool:
    """Whether a tensor is on the CPU, and nobody traces, transforms, casts or
    differentiates forward."""
    return (
        x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and is_plain(x)
    )


def is_plain(x: Tensor) -> bool:
    """Whether nobody traces, transforms or differentiates forward."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, torch.nn.Parameter)
        and not torch._C._are_functorch_transforms_active()
        and not is_forward_mode()
    )


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether somebody wants to see or change what a module does."""
    names = ("forward_pre", "forward", "backward_pre", "backward")
    return any(getattr(module, f"_{name}_hooks") for name in names)
