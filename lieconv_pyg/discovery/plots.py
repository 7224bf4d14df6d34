"""Figures of bases, metrics and patterns of sharing, as PNG files. They need no
display."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lieconv_pyg.discovery.metric import InvariantMetric
from lieconv_pyg.discovery.msr_score import sharing_spans
from lieconv_pyg.discovery.spans import matrices, outside
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.groups.checks import positive


def plot_basis(bases: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    r"""Shows generators as pictures of their entries, blue where they are positive and
    red where they are negative, a row a basis, each over its largest entry, which
    stands behind its name.

    Args:
        bases: Generators :math:`(c, n, n)` by name.
        path: The PNG file to write.

    Raises:
        ValueError: If there is no basis, or one has another shape, infinite or NaN
            entries, or is zero.
    """
    if not bases:
        raise ValueError("'bases' is empty: give at least one basis")
    found = {name: matrices(basis, name) for name, basis in bases.items()}
    width = max(map(len, found.values()))
    figure = new_figure(1.0 + 2.0 * width, 0.4 + 2.2 * len(found), 150)
    grid = figure.subplots(len(found), width, squeeze=False)
    for row, (name, basis) in zip(grid, found.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        for k, L in enumerate(basis):
            most = float(L.abs().max())
            title = f"{name}, $L_{{{k + 1}}}$ ({most:.2g})"
            _matrix(row[k], L / max(most, 1e-30), title)
    figure.savefig(path)


def plot_metric(metric: InvariantMetric, path: str | os.PathLike[str]) -> None:
    r"""Shows an invariant metric as a picture of its entries.

    Args:
        metric: What :func:`~lieconv_pyg.discovery.invariant_metric` returns.
        path: The PNG file to write.
    """
    figure = new_figure(3.2, 3.2, 150)
    J = metric.metric
    title = f"invariant metric\nresidual {metric.residual:.2g}, gap {metric.gap:.2g}"
    _matrix(figure.subplots(), J / J.abs().max(), title)
    figure.savefig(path)


def plot_losses(
    losses: Mapping[str, Sequence[float]], path: str | os.PathLike[str]
) -> None:
    r"""Shows the losses of a method over the epochs, with the value :math:`\log 2` of a
    discriminator that cannot tell.

    Args:
        losses: Of each player, an entry an epoch.
        path: The PNG file to write.

    Raises:
        ValueError: If there are none.
    """
    if not any(losses.values()):
        raise ValueError("'losses' is empty: give at least one epoch")
    figure = new_figure(5.4, 3.6, 150)
    axes = figure.subplots()
    for (name, values), colour in zip(losses.items(), COLOURS, strict=False):
        epochs = range(1, len(values) + 1)
        mark = "." if len(values) == 1 else None
        axes.plot(epochs, values, color=colour, label=name, marker=mark)
    if "discriminator" in losses:
        style = dict(color="0.5", linewidth=1, linestyle="--")
        axes.axhline(math.log(2), label="log 2: nothing to tell by", **style)
    axes.set(xlabel="epoch", ylabel="loss")
    values = [value for row in losses.values() for value in row]
    if 0 < 20 * min(values) < max(values):
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def plot_sharing(
    learned: Tensor, true: Tensor, path: str | os.PathLike[str], num: int = 3
) -> None:
    r"""Shows patterns of sharing as pictures of their entries: some that were learned,
    each over its largest entry; the true ones, over theirs; and what of the true ones
    is in the span of the learned ones, to the same scale.

    Args:
        learned: Matrices :math:`(k, m, n)`, such as the patterns of
            :class:`~lieconv_pyg.discovery.SharedLinear`.
        true: Those of the tasks :math:`(d, m, n)`.
        path: The PNG file to write.
        num: The number of each that is shown, at the most.

    Raises:
        TypeError: If patterns are not a floating-point tensor, or :obj:`num` not an
            integer.
        ValueError: If shapes do not fit, or entries are infinite or NaN.
    """
    span, _ = sharing_spans(learned, true)
    known = true.detach().cpu().double()[: positive(num, "num")]
    found = learned.detach().cpu().double()[:num]
    largest = known.abs().amax((1, 2), keepdim=True).clamp(min=1e-30)
    rows = {
        "learned": found / found.abs().amax((1, 2), keepdim=True).clamp(min=1e-30),
        "true, in the learned span": (known - outside(known, span)) / largest,
        "true": known / largest,
    }
    width = max(map(len, rows.values()))
    figure = new_figure(0.4 + 2.6 * width, 0.4 + 2.8 * len(rows), 110)
    grid = figure.subplots(len(rows), width, squeeze=False)
    for panels, (name, patterns) in zip(grid, rows.items(), strict=True):
        for panel in panels:
            panel.set_axis_off()
        for k, pattern in enumerate(patterns):
            _matrix(panels[k], pattern, f"{name}, {k + 1}")
    figure.savefig(path)


def _matrix(axes: Any, values: Tensor, title: str) -> None:
    """A matrix of entries between -1 and 1; a small one with its numbers."""
    axes.set_axis_on()
    axes.imshow(values.numpy(), cmap="RdBu", vmin=-1, vmax=1)
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    if max(values.shape) <= 4:
        for i, row in enumerate(values.tolist()):
            for j, value in enumerate(row):
                colour = "white" if abs(value) > 0.6 else "black"
                style = dict(ha="center", va="center", fontsize=7, color=colour)
                axes.text(j, i, f"{value:.2f}", **style)
