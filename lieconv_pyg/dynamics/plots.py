"""Figures of trajectories and of their errors. They need no display."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.dynamics.rollout import RolloutErrors
from lieconv_pyg.figures import COLOURS, new_figure

_PANELS = {
    "state": "error of the state (root mean square)",
    "energy": "change of the true energy (relative)",
    "linear": "change of the total linear momentum",
    "angular": "change of the total angular momentum",
}
_ROUNDING = 1e-13
_SMALL = 1e-17  # what is shown of zeros


def plot_errors(
    errors: Mapping[str, RolloutErrors],
    path: str | os.PathLike,
    true: RolloutErrors | None = None,
) -> None:
    r"""Plots errors of rollouts over time, a line for each network: the median over the
    systems that have not diverged.

    Args:
        errors (mapping): What :func:`~lieconv_pyg.dynamics.rollout_errors` finds, by
            name.
        path (path): The PNG file to write.
        true (RolloutErrors, optional): What energy and momenta of the true trajectories
            change by, a grey line.
    """
    from matplotlib.ticker import NullFormatter

    figure = new_figure(9.0, 6.4)
    panels = figure.subplots(2, 2, sharex=True).flatten()
    lines: list[tuple[str, RolloutErrors, dict[str, Any]]] = []
    for index, (name, found) in enumerate(errors.items()):
        again, at = divmod(index, len(COLOURS))
        style = {"color": COLOURS[at], "linestyle": ("-", ":", "-.")[again % 3]}
        lines.append((name, found, style))
    if true is not None:
        lines.append(("true", true, {"color": "0.6", "linestyle": "--"}))
    for name, found, style in lines:
        for panel, key in zip(panels, _PANELS, strict=True):
            middle = getattr(found, key)[:, 1:].nanmedian(0).values.clamp(min=_SMALL)
            if found is true and key == "state":
                middle = middle * torch.nan  # it has none; the legend has its line
            panel.semilogy(found.times[1:], middle, label=name, **style)
    for panel, title in zip(panels, _PANELS.values(), strict=True):
        panel.set_title(title, fontsize=10)
        panel.grid(True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        low, high = panel.get_ylim()
        if low < _ROUNDING:  # which is to look like what it is
            panel.set_ylim(_SMALL, max(high, 1e3 * _ROUNDING))
        panel.yaxis.set_minor_formatter(NullFormatter())
    number = max(len(found.state) for found in errors.values())
    for panel in panels[2:]:
        panel.set_xlabel(f"time (medians of {number} systems)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        *(handles, labels),
        loc="outside upper center",
        ncols=min(5, len(labels)),
        frameon=False,
    )
    figure.savefig(path)


def plot_trajectories(
    true: Tensor, learned: Mapping[str, Tensor], path: str | os.PathLike
) -> None:
    r"""Plots the way of each particle of one system, in the plane of its first two
    coordinates, a panel for each network, over the true one in grey.

    Args:
        true (torch.Tensor): Positions :math:`(N, T, d)`.
        learned (mapping): Those of rollouts, by name.
        path (path): The PNG file to write.
    """
    figure, panels = _panels(len(learned), 2.7)
    limits = _limits(true, *learned.values())
    for panel, (name, pos) in zip(panels, learned.items(), strict=True):
        for particle, colour in enumerate(_particle_colours(len(pos))):
            way = true[particle].cpu()
            panel.plot(way[:, 0], way[:, 1], color="0.8", linewidth=3.2)
            way = pos[particle].cpu()
            panel.plot(way[:, 0], way[:, 1], color=colour, linewidth=1.2)
            panel.plot(*true[particle, 0, :2].cpu(), "o", color=colour, markersize=4)
        panel.set(**limits, aspect="equal", title=name, xlabel="x", ylabel="y")
        panel.title.set_fontsize(10)
    figure.suptitle("learned (colours) and true (grey), from the dots", fontsize=10)
    figure.savefig(path)


def animate(
    true: Tensor,
    learned: Mapping[str, Tensor],
    path: str | os.PathLike,
    every: int = 5,
) -> None:
    r"""Writes an animation of one system, a panel for each network, with the true
    particles as circles.

    Args:
        true (torch.Tensor): Positions :math:`(N, T, d)`.
        learned (mapping): Those of rollouts, by name.
        path (path): The GIF file to write.
        every (int, optional): Which states are frames. (default: :obj:`5`)
    """
    from matplotlib.animation import FuncAnimation, PillowWriter

    figure, panels = _panels(len(learned), 2.4)
    title = figure.suptitle(" ", fontsize=8)
    limits = _limits(true, *learned.values())
    colours = _particle_colours(true.size(0))
    moving = []
    for panel, (name, pos) in zip(panels, learned.items(), strict=True):
        panel.set(**limits, aspect="equal", title=name)
        panel.set_xticks([])
        panel.set_yticks([])
        rings = panel.scatter(
            *true[:, 0, :2].T, s=70, facecolors="none", edgecolors=colours
        )
        dots = panel.scatter(*pos[:, 0, :2].T, s=18, c=colours)
        moving += [(rings, true), (dots, pos)]

    def draw(frame: int) -> list[Any]:
        for points, way in moving:
            points.set_offsets(way[:, frame * every, :2].cpu())
        share = frame * every / (true.size(1) - 1)
        title.set_text(f"rings: true, dots: learned; {share:.0%} of the time")
        return [title, *(points for points, _ in moving)]

    frames = -(-true.size(1) // every)
    film = FuncAnimation(figure, draw, frames=frames)
    film.save(os.fspath(path), PillowWriter(fps=20), dpi=70)


def _panels(number: int, size: float) -> tuple[Any, list[Any]]:
    """A figure of so many square panels, five in a row at most."""
    rows = -(-number // 5)
    columns = -(-number // rows)
    figure = new_figure(0.4 + size * columns, 0.5 + size * rows)
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel in panels[number:]:
        panel.set_visible(False)
    return figure, panels[:number]


def _particle_colours(number: int) -> list[str]:
    """Colours beside grey."""
    bright = [c for c in COLOURS if c != "#5b5b5b"]
    return [bright[i % len(bright)] for i in range(number)]


def _limits(true: Tensor, *learned: Tensor) -> dict[str, tuple[float, float]]:
    """Limits of x and y that hold the true ways, and the learned ones as far as they
    go half as far again."""
    limits = {}
    for axis, name in enumerate(("xlim", "ylim")):
        way = true[..., axis]
        low, high = float(way.min()), float(way.max())
        size = max(high - low, 1e-9)
        ways = [pos[..., axis][pos[..., axis].isfinite()] for pos in learned]
        least = min([low, *(float(w.min()) for w in ways)])
        most = max([high, *(float(w.max()) for w in ways)])
        room = 0.05 * size
        limits[name] = (
            max(least, low - size / 2) - room,
            min(most, high + size / 2) + room,
        )
    return limits
