"""When code that is written out by hand may take the place of torch's."""

import torch
from torch import Tensor


def is_plain_cpu(x: Tensor) -> bool:
    """Whether a tensor is on the CPU, and nobody traces, transforms or casts."""
    return (
        x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )
