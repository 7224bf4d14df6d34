"""The original implementation on the same workloads, for comparison.

It is imported from a clone of https://github.com/mfinzi/LieConv, of which nothing is
part of this package.
"""

import importlib
import math
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch_geometric.utils import to_dense_batch
from workloads import Workload


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


def _load(folder: Path, name: str) -> ModuleType:
    if not (folder / "lie_conv" / f"{name}.py").is_file():
        raise ImportError(
            f"{str(folder)!r} is not a clone of https://github.com/mfinzi/LieConv"
        )
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(f"lie_conv.{name}")
