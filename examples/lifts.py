"""Draws how each group lifts the pixels of a digit, and one neighbourhood for each.

    python examples/lifts.py [--output FOLDER] [--digit N] [--fill F]

lifts.png: group elements and orbits of the lifted pixels. neighborhoods.png: the pixels
within the radius of one of them, by group distance (Figures 2 and 3 of
https://arxiv.org/abs/2002.12880).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import interpolate

from lieconv_pyg import lift
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.groups import SE2, SO2, LieGroup, RxSO2, T, Trivial, Tx
from lieconv_pyg.images import ImageToPoints
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import calibrate_radius, radius_graph

GROUPS: dict[str, LieGroup] = {
    "Trivial(2)": Trivial(2),
    "Tx": Tx(),
    "T(2)": T(2),
    "SO(2)": SO2(),
    "RxSO(2)": RxSO2(alpha=0.3),
    "SE(2)": SE2(),
}
SIZE = 28


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/lifts"))
    parser.add_argument("--digit", type=int, default=3, help="which, from 0 to 9")
    parser.add_argument(
        "--fill", type=float, default=0.1, help="share of the points within the radius"
    )
    args = parser.parse_args()
    if not 0 <= args.digit <= 9:
        parser.error(f"--digit must be from 0 to 9, got {args.digit}")
    if not 0 < args.fill < 1:
        parser.error(f"--fill must be between 0 and 1, got {args.fill}")
    return args


def read_digit(digit: int) -> tuple[Tensor, Tensor]:
    """Values (n) and points (n, 2) of a digit of 28 by 28 pixels."""
    found = load_digits()
    image = torch.from_numpy(found.images[found.target == digit][0]).float() / 16
    image = interpolate(image[None, None], (SIZE, SIZE), mode="bicubic")
    data = ImageToPoints()(image[0].clamp(0, 1))
    return data.x.view(-1), data.pos


def coordinates(group: LieGroup, lifted: Lifted) -> tuple[list[Tensor], list[str]]:
    """What is drawn of lifted points, and what it is called: x runs to the right, y
    upwards."""
    a, q = group.log(lifted.element), lifted.orbit
    if isinstance(group, Trivial):
        return [q[:, 1], -q[:, 0]], ["orbit x", "orbit y"]
    if isinstance(group, Tx):
        # The first coordinate is that of the rows.
        return [q[:, 0], -a[:, 0]], ["orbit x", "group y"]
    if isinstance(group, T):
        return [a[:, 1], -a[:, 0]], ["group x", "group y"]
    if isinstance(group, SO2):
        return [a[:, 0], q[:, 0]], ["group angle", "orbit radius"]
    if isinstance(group, RxSO2):
        return [a[:, 1], a[:, 0]], ["group angle", "group log radius"]
    place = group.act(lifted.element, torch.zeros(2))
    angle = torch.atan2(lifted.element[:, 1, 0], lifted.element[:, 0, 0])
    return [place[:, 1], -place[:, 0], angle], ["group x", "group y", "group angle"]


def draw_lifts(x: Tensor, pos: Tensor, path: Path) -> None:
    """A panel for each group: the lifted pixels in their coordinates."""
    figure = new_figure(10.5, 7.2)
    for number, (name, group) in enumerate(GROUPS.items()):
        lifts = 2 if group.stabilizer_dim > 0 else 1
        random = torch.Generator().manual_seed(0)
        lifted = lift(group, pos, num_lifts=lifts, generator=random)
        values = x[lifted.point]
        found, labels = coordinates(group, lifted)
        solid = len(found) == 3
        kwargs: dict[str, Any] = {"projection": "3d"} if solid else {}
        panel = figure.add_subplot(2, 3, number + 1, **kwargs)
        if solid:  # else empty pixels would hide the digit
            found = [part[values > 0.2] for part in found]
            values = values[values > 0.2]
        panel.scatter(*found, c=values, cmap="Greys", s=9, vmin=-0.15, vmax=1)
        panel.set_xlabel(labels[0])
        panel.set_ylabel(labels[1])
        if solid:
            panel.set_zlabel(labels[2], labelpad=-1)
            panel.view_init(elev=22, azim=-125)
            panel.set_box_aspect((1, 1, 0.9), zoom=0.78)
            name = f"{name}, {lifts} lifts, dark pixels"
        elif labels[0].endswith("x"):
            panel.set_aspect("equal")
        panel.set_title(name, fontsize=11)
    figure.savefig(path)


def draw_neighborhoods(pos: Tensor, fill: float, path: Path) -> None:
    """A panel for each group: the neighbours of one pixel, by distance."""
    figure = new_figure(10.5, 7.2)
    panels = figure.subplots(2, 3).flatten()
    target = int((pos - torch.tensor([4.0, 6.5])).square().sum(1).argmin())
    for panel, (name, group) in zip(panels, GROUPS.items(), strict=True):
        lifts = 8 if group.stabilizer_dim > 0 else 1
        random = torch.Generator().manual_seed(0)
        lifted = lift(group, pos, num_lifts=lifts, generator=random)
        radius = calibrate_radius(group, lifted, fill)
        one = lifted.select(torch.tensor([target * lifts]))
        graph = radius_graph(group, lifted, radius, one)
        point = lifted.point[graph.edge_index[0]]
        nearest = torch.full((len(pos),), torch.inf)
        nearest = nearest.scatter_reduce(0, point, graph.distance, "amin")
        inside = nearest.isfinite()
        x, y = pos[:, 1], -pos[:, 0]
        panel.scatter(x[~inside], y[~inside], s=8, color="0.87")
        shown = panel.scatter(
            *(x[inside], y[inside]), c=nearest[inside] / radius, s=16, cmap="viridis_r",
            vmin=0, vmax=1,
        )  # fmt: skip
        panel.plot(x[target], y[target], "o", color=COLOURS[4], markersize=7)
        if group.stabilizer_dim > 0:
            name = f"{name}, nearest of {lifts} lifts"
        panel.set_title(f"{name}: {int(inside.sum())} pixels", fontsize=11)
        panel.set_aspect("equal")
        panel.axis("off")
    figure.colorbar(shown, ax=list(panels), shrink=0.6, label="group distance / radius")
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"lifts: error: --output: {error}")
    x, pos = read_digit(args.digit)
    draw_lifts(x, pos, args.output / "lifts.png")
    draw_neighborhoods(pos, args.fill, args.output / "neighborhoods.png")
    for name in ("lifts.png", "neighborhoods.png"):
        print(args.output / name)


if __name__ == "__main__":
    main()
