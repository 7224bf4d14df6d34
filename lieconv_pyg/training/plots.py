"""Figures of a run, as PNG files. Needs no display."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import torch

from lieconv_pyg.datasets import Target
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.training.results import Errors, Predictions

_GREYS = ("0.45", "0.7")
_TIGHT: Any = {"bbox_inches": "tight", "pad_inches": 0.08}
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
}


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value


def parity_plot(results: Sequence[Predictions], path: str | os.PathLike) -> None:
    r"""Plots predictions over true values of the test molecules, a panel a model.

    Args:
        results (sequence of Predictions): One a model, for the same target.
        path (path): The PNG file to write.
    """
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    target = results[0].target
    values = torch.cat([v for r in results for v in (r.values, r.predicted)])
    values = values[values.isfinite()]  # true values always are
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low or 1.0)
    span = (low - margin, high + margin)
    few = len(results[0].values) < 300
    with matplotlib.rc_context(_STYLE):
        figure = new_figure(0.8 + 3.9 * len(results), 4.6, 150)
        panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
        for r, axes, colour in zip(results, panels, cycle(COLOURS), strict=False):
            axes.plot(span, span, color="0.6", linewidth=1, zorder=1)
            axes.scatter(
                r.values,
                r.predicted,
                s=22 if few else 7,
                alpha=0.8 if few else 0.4,
                color=colour,
                linewidths=0,
                zorder=2,
            )
            axes.set(
                xlim=span,
                ylim=span,
                aspect="equal",
                xlabel=f"true {target.label}",
                title=f"{r.model}: MAE {r.mae:.3g} {target.unit}",
            )
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        panels[0].set_ylabel(f"predicted {target.label}")
        figure.suptitle(fill(results[0].title, 60), fontsize=11)
        figure.savefig(path, **_TIGHT)


def learning_curve(
    histories: Mapping[str, Sequence[tuple[float, float, float]]],
    target: Target | str,
    path: str | os.PathLike,
    simple: Mapping[str, Errors] | None = None,
) -> None:
    r"""Plots training and validation error over the epochs, with a dot where the
    validation error is smallest.

    Args:
        histories (mapping): For each model its rows (epoch, training MAE,
            validation MAE), in the target's unit.
        target (Target or str): What was predicted, or the name of another error.
        path (path): The PNG file to write.
        simple (mapping, optional): Test errors of simple predictors by name, a dashed
            line each; those within 1% of one before are left out.
    """
    import matplotlib
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context(_STYLE):
        figure = new_figure(5.4, 4.6, 150)
        axes = figure.add_subplot()
        validated = False
        for (model, rows), colour in zip(
            histories.items(), cycle(COLOURS), strict=False
        ):
            if not rows:
                continue
            epochs, training, validation = zip(*rows, strict=True)
            one = "." if len(rows) == 1 else None
            axes.plot(epochs, training, color=colour, linewidth=1, ls=":", marker=one)
            axes.plot(epochs, validation, color=colour, linewidth=1.6, label=model)
            if not any(map(math.isfinite, validation)):
                continue
            validated = True
            best = min(range(len(rows)), key=lambda i: _or_infinite(validation[i]))
            axes.plot(epochs[best], validation[best], "o", color=colour, markersize=5)
        if validated:
            axes.plot([], [], color="0.4", linewidth=1.6, label="validation")
            axes.plot([], [], "o", color="0.4", markersize=5, label="best epoch")
        axes.plot([], [], color="0.4", linewidth=1, ls=":", label="training")
        drawn: list[float] = []
        for name, (error, *_) in (simple or {}).items():
            if any(abs(error - other) < 0.01 * other for other in drawn):
                continue
            grey = _GREYS[len(drawn) % len(_GREYS)]
            label = f"{name} (test)"
            axes.axhline(error, color=grey, linewidth=1, ls="--", label=label)
            drawn.append(error)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _logarithmic(
            axes, [v for rows in histories.values() for r in rows for v in r[1:]]
        )
        if isinstance(target, Target):
            unit = f" ({target.unit})" if target.unit else ""
            target = f"mean absolute error of {target.name}{unit}"
        axes.set(xlabel="epoch", ylabel=target)
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        figure.savefig(path, **_TIGHT)


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    """Makes the axis of errors logarithmic, down to 0 if any of them is."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

    locator: Any = LogLocator(subs=(1, 2, 5))
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return
    if 0 in values:
        least = min(positive)
        axes.set_yscale("symlog", linthresh=least, linscale=0.3)
        axes.set_ylim(bottom=-0.1 * least)
        ticks = locator.tick_values(least, max(positive))
        locator = FixedLocator([0, *(tick for tick in ticks if tick >= least)])
    else:
        axes.set_yscale("log")
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
