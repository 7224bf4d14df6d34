"""The original implementation on the same workloads, for comparison.

It is imported from a clone of https://github.com/mfinzi/LieConv, of which nothing is
part of this package.
"""

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch_geometric.utils import to_dense_batch
from workloads import ImageWorkload, ShapesWorkload, SpringsWorkload, Workload

from lieconv_pyg import ImageLieResNet


def original_network(folder: Path, work: Workload, radius: float) -> torch.nn.Module:
    """The original LieResNet with the settings of a workload. Its radius is a running
    correction: it starts from the right one.

    Raises:
        ImportError: if the folder is not a clone of the original code.
    """
    code, groups = _load(folder, "lieConv"), _load(folder, "lieGroups")
    dim = work.group.removeprefix("T(").removesuffix(")")
    group = groups.T(int(dim)) if dim.isdecimal() else groups.SE3()
    network = code.LieResNet(
        work.in_channels,
        num_outputs=1,
        k=work.hidden_channels,
        nbhd=work.num_neighbors or (math.inf if work.fill == 1 else 32),
        num_layers=work.num_layers,
        liftsamples=work.num_lifts,
        fill=work.fill,
        group=group,
    )
    for module in network.modules():
        if isinstance(module, code.LieConv):
            module.r.fill_(min(radius, 1e6))
    return network


def original_inputs(x: Tensor, pos: Tensor, batch: Tensor) -> tuple[Tensor, ...]:
    """Padded points, features and mask, as its data loaders give them."""
    padded, mask = to_dense_batch(pos, batch)
    return padded, to_dense_batch(x, batch)[0], mask


def original_image_network(
    folder: Path, work: ImageWorkload | ShapesWorkload, ours: ImageLieResNet
) -> torch.nn.Module:
    """The original ImgLieResnet with the settings of a workload. Its radii are a
    running correction: they start from those of ours.

    Raises:
        ImportError: if the folder is not a clone of the original code.
        ValueError: for clouds, which it cannot subsample.
    """
    if isinstance(work, ShapesWorkload):
        raise ValueError(f"the original has no network for {work.name}")
    code, groups = _load(folder, "lieConv"), _load(folder, "lieGroups")
    makers = {"T(2)": lambda: groups.T(2), "SO(2)": groups.SO2, "SE(2)": groups.SE2}
    network = code.ImgLieResnet(
        *(1, work.total_ratio, work.num_layers),
        group=makers[work.group](),
        fill=work.fill,
        k=work.hidden_channels,
        nbhd=work.num_neighbors,
        liftsamples=work.num_lifts,
    )
    layers = [m for m in network.modules() if isinstance(m, code.LieConv)]
    for layer, search in zip(layers, ours.net.neighborhoods, strict=True):
        layer.r.fill_(float(search.radius))
    return network


def original_springs_loss(
    folder: Path, work: SpringsWorkload, device: torch.device
) -> tuple[torch.nn.Module, Callable[[], Tensor]]:
    """The potential of the original HLieResNet, and the squared error of its rollout.

    Its module of dynamics needs packages that have nothing to do with it: what it does
    with the network is done here in the same way.

    Raises:
        ImportError: if the folder is not a clone of the original code.
    """
    from torchdiffeq import odeint

    code, groups = _load(folder, "lieConv"), _load(folder, "lieGroups")
    network = code.LieResNet(
        *(2, 1),
        num_outputs=1,
        k=work.hidden_channels,
        nbhd=100,
        num_layers=work.num_layers,
        bn=False,
        mean=True,
        xyz_dim=2,
        group=groups.T(2),
        fill=1.0,
        cache=True,
    ).to(device)
    x, state, _, times, targets = (value.to(device) for value in work.data())
    size = work.batch_size
    params = x.view(size, -1, 2)
    mask = torch.ones(params.shape[:2], dtype=torch.bool, device=device)
    z0, z = (v.unflatten(-2, (size, -1)) for v in (state, targets))

    def derivative(t: Tensor, z: Tensor) -> Tensor:
        with torch.enable_grad():
            z = torch.zeros_like(z, requires_grad=True) + z
            q, p = z.chunk(2, dim=2)
            kinetic = (p.square().sum(2) / params[..., 0]).sum(1) / 2
            potential = network((q - q.mean(1, keepdim=True), params, mask))
            energy = (kinetic + potential.squeeze(1)).sum()
            slope = torch.autograd.grad(energy, z, create_graph=True)[0]
        by_q, by_p = slope.chunk(2, dim=2)
        return torch.cat([by_p, -by_q], dim=2)

    def loss() -> Tensor:
        found = odeint(derivative, z0, times, method="rk4")
        return (found - z).square().mean()

    return network, loss


def _load(folder: Path, name: str) -> ModuleType:
    if not (folder / "lie_conv" / f"{name}.py").is_file():
        raise ImportError(
            f"{str(folder)!r} is not a clone of https://github.com/mfinzi/LieConv"
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(f"lie_conv.{name}")
