"""The published learning rate schedule, by step."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(step: int, num_steps: int, warmup: float = 0.01) -> float:
    r"""Share of the learning rate at a step: a linear warm-up times a cosine to 0.

    .. math::
        \min\left(1, \frac{t + 1}{w T}\right) \cdot
        \frac{1}{2}\left(1 + \cos \frac{\pi t}{T}\right)

    The published runs apply it by epoch; here :math:`t` counts optimizer steps,
    so that runs of few epochs have it too.

    Args:
        step (int): :math:`t`, from 0.
        num_steps (int): :math:`T`, the steps of the whole run.
        warmup (float, optional): :math:`w`, the share of the run that warms up.
            (default: :obj:`0.01`)
    """
    first = max(1.0, warmup * num_steps)
    ramp = min(1.0, (step + 1) / first)
    return ramp * 0.5 * (1 + math.cos(math.pi * min(step, num_steps) / num_steps))


def adam_with_cosine(module: Any, lr: float, warmup: float) -> dict[str, Any]:
    r"""Adam with :func:`warmup_cosine` over the whole run of a
    :class:`~lightning.pytorch.LightningModule`, as its optimizer settings.

    Raises:
        ValueError: If the run has no end.
    """
    trainer = module.trainer
    num_steps = trainer.estimated_stepping_batches
    if num_steps == float("inf"):
        raise ValueError(
            "trainer.max_epochs or trainer.max_steps must be set: the learning rate "
            "falls to 0 at the end of the run"
        )
    # One pass over memory; Lightning cannot clip its gradients in mixed precision.
    fused = "mixed" not in str(trainer.precision)
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, fused=fused)
    scheduler = warmup_cosine_scheduler(optimizer, int(num_steps), warmup)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
    }


def warmup_cosine_scheduler(
    optimizer: Optimizer, num_steps: int, warmup: float = 0.01
) -> LambdaLR:
    r"""A scheduler with :func:`warmup_cosine`, to be stepped after every step.

    Raises:
        ValueError: If :obj:`warmup` is outside [0, 1) or :obj:`num_steps` < 1.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup must be in [0, 1), got {warmup}")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    return LambdaLR(
        optimizer, partial(warmup_cosine, num_steps=num_steps, warmup=warmup)
    )
