"""Measures of two classes by their scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def roc_curve(labels: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    r"""The shares of signal and of background that pass, for each threshold that some
    score is at, from the highest to the lowest, after 0 and 0.

    Args:
        labels: 1 for signal, 0 for background, :math:`(M)`.
        scores: The higher, the more like signal, :math:`(M)`.

    Returns:
        Shares of signal and of background, :math:`(T + 1)` each in float64, both from 0
        to 1; NaN where there is none of a class.

    Raises:
        ValueError: If shapes differ, labels are others, or scores are NaN.
    """
    if labels.shape != scores.shape or labels.dim() != 1:
        raise ValueError(
            f"'labels' and 'scores' must be of one shape (M), got "
            f"{tuple(labels.shape)} and {tuple(scores.shape)}"
        )
    if bool(((labels != 0) & (labels != 1)).any()):
        raise ValueError("'labels' must be 0 or 1")
    if bool(scores.isnan().any()):
        raise ValueError(f"'scores' has {int(scores.isnan().sum())} NaN")
    scores, order = scores.sort(descending=True)
    signal = labels[order].double()
    last = torch.ones_like(scores, dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]  # of those that are equal
    zero = signal.new_zeros(1)
    passed = [torch.cat([zero, s.cumsum(0)[last]]) for s in (signal, 1 - signal)]
    return passed[0] / signal.sum(), passed[1] / (1 - signal).sum()


def roc_auc(labels: Tensor, scores: Tensor) -> float:
    r"""The area under :func:`roc_curve`: the probability that a signal has a higher
    score than a background, where equal scores count one half; NaN where there is none
    of a class."""
    return float(torch.trapezoid(*roc_curve(labels, scores)))


def background_efficiency(labels: Tensor, scores: Tensor, signal: float) -> float:
    r"""The share :math:`\varepsilon_B` of the background that passes where this share
    :math:`\varepsilon_S` of the signal does, by straight lines between the points of
    :func:`roc_curve`; where several points have this share of the signal, the least.

    Args:
        labels: 1 for signal, 0 for background, :math:`(M)`.
        scores: The higher, the more like signal, :math:`(M)`.
        signal: The share of the signal, between 0 and 1.

    Raises:
        ValueError: If the share is out of range, or as :func:`roc_curve` says.
    """
    if not 0 < signal <= 1:
        raise ValueError(f"'signal' must be in (0, 1], got {signal}")
    passed, background = roc_curve(labels, scores)
    if not bool(passed.isfinite().all() and background.isfinite().all()):
        return math.nan
    after = int((passed >= signal - 1e-12).nonzero()[0])  # shares are rounded
    x0, x1 = passed[after - 1], passed[after]
    y0, y1 = background[after - 1], background[after]
    share = ((signal - x0) / (x1 - x0)).clamp(max=1)
    return float(y0 + share * (y1 - y0))


def background_rejection(labels: Tensor, scores: Tensor, signal: float) -> float:
    r"""The rejection :math:`1 / \varepsilon_B` of the background where this share of
    the signal passes, see :func:`background_efficiency`: infinite where no background
    does, which only says that it is more than there are of them."""
    share = background_efficiency(labels, scores, signal)
    return math.inf if share == 0 else 1 / share
