"""Checkpoints of the original code (https://github.com/mfinzi/LieConv)."""

import copy
import re
import warnings
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lieconv_pyg.nn.blocks import BottleneckBlock
from lieconv_pyg.nn.group_neighborhood import GroupNeighborhood
from lieconv_pyg.nn.lie_conv import LieConv, kernel_first
from lieconv_pyg.nn.lie_resnet import LieResNet

# Its blocks are sequences: index in the sequence → our name.
_BLOCK = {
    "0": "norm1",
    "2": "lin1",
    "3": "norm2",
    "5": "conv",
    "6": "norm3",
    "8": "lin2",
}
# Its kernel networks too: linear, norm, activation, three times.
_CONV = {
    ".linear": "lin",
    ".weightnet.0": "kernel.lins.0",
    ".weightnet.1": "kernel.norms.0",
    ".weightnet.3": "kernel.lins.1",
    ".weightnet.4": "kernel.norms.1",
    ".weightnet.6": "kernel.lins.2",
    ".weightnet.7": "kernel.norms.2",
}


def load_original_state_dict(
    model: torch.nn.Module, state_dict: Mapping[str, Tensor]
) -> None:
    r"""Loads the parameters of a network of the original code.

    The model must have its shape: :obj:`num_layers`, :obj:`hidden_channels` and
    :obj:`group` as there, :obj:`norm=None` for :obj:`bn=False`, :obj:`aggr` and
    :obj:`pool` :obj:`"mean"` or :obj:`"add"` and :obj:`"sum"` for :obj:`mean`. In
    evaluation the outputs are then those of the original, given the same lifts and
    neighbours. To that end the layers divide their bias by the number of neighbours
    (:obj:`scale_bias=True`), and the variances are shifted, since the original takes
    :math:`\max(\sigma^2, \epsilon)` where PyTorch takes :math:`\sigma^2 + \epsilon`.

    Where its blocks have different radii, every block gets a graph of its own: to load
    the model's own :meth:`state_dict` afterwards, build it with :obj:`scale_bias=True`
    and, in that case, :obj:`radius` as a list.

    Args:
        model (torch.nn.Module): A :class:`~lieconv_pyg.nn.LieResNet`, or a module that
            holds one as :obj:`net`.
        state_dict (Mapping[str, Tensor]): What :meth:`state_dict` of the original
            network gave.

    Raises:
        ValueError: if names or shapes do not fit; the model is then left as it was.
    """
    net = getattr(model, "net", model)
    if not isinstance(net, LieResNet):
        raise TypeError(f"'model' must be a 'LieResNet' (got '{type(model)}')")
    if not all(isinstance(block.conv, LieConv) for block in net.blocks):
        raise TypeError("'model' must be made of 'LieConv': build it without 'conv'")
    loaded, radii = {}, [torch.tensor(float("nan"))] * net.num_layers
    for name, value in state_dict.items():
        name = name.removeprefix("module.")
        if re.fullmatch(r"net\.\d+\.net\.5\.r", name):
            radii[int(name.split(".")[1]) - 1] = value
        elif not re.match(r"net\.\d+\.conv\.", name):  # a second name of net.5
            ours = _translate(name, net.num_layers)
            if ours.endswith(".conv.lin.weight"):
                first = cast(LieConv, cast(BottleneckBlock, net.blocks[0]).conv)
                value = kernel_first(value, first.num_kernel_channels)
            loaded[ours] = value
    _shift_variances(net, loaded)
    _check(net, loaded)
    if min(net.ratio) < 1:
        warnings.warn(
            "the original code transposes the pairs when it drops points, which is not "
            "done here: outputs will differ from its",
            stacklevel=2,
        )
    net.load_state_dict(loaded, strict=False)
    for module in net.modules():
        if isinstance(module, LieConv):
            module.scale_bias_()
    _set_radii(net, radii)


def _translate(name: str, num_layers: int) -> str:
    """Our name of a parameter of the original; names that it has not stay as they are,
    to be reported."""
    short = name.replace(".module.", ".")
    ends = {
        "net.0": "lin_in",
        f"net.{num_layers + 1}": "norm.module",
        f"net.{num_layers + 3}": "lin_out",
    }
    prefix, _, parameter = short.rpartition(".")
    if prefix in ends:
        return f"{ends[prefix]}.{parameter}"
    match = re.fullmatch(r"net\.(\d+)\.net\.(\d)(\.weightnet\.\d|\.linear)?", prefix)
    if match is None or match[2] not in _BLOCK:
        return name
    part = _BLOCK[match[2]]
    if match[3] is not None:
        part = f"{part}.{_CONV[match[3]]}"
    if "norm" in part:
        part += ".module"
    return f"blocks.{int(match[1]) - 1}.{part}.{parameter}"


def _shift_variances(net: LieResNet, loaded: dict[str, Tensor]) -> None:
    """Variances that with our :math:`\\epsilon` added are those of the original."""
    for name, module in net.named_modules():
        key = f"{name}.running_var"
        if isinstance(module, _BatchNorm) and key in loaded:
            loaded[key] = loaded[key].clamp(min=module.eps) - module.eps


def _check(net: LieResNet, loaded: dict[str, Tensor]) -> None:
    ours = {
        name: value
        for name, value in net.state_dict().items()
        if not name.endswith((".radius", ".bias_is_scaled"))
    }
    missing = sorted(ours.keys() - loaded.keys())
    unexpected = sorted(loaded.keys() - ours.keys())
    shapes = [
        f"{name}: {tuple(loaded[name].shape)} for {tuple(ours[name].shape)}"
        for name in ours.keys() & loaded.keys()
        if ours[name].shape != loaded[name].shape
    ]
    for what, names in (
        ("lacks", missing),
        ("has, and the model lacks,", unexpected),
        ("has other shapes:", sorted(shapes)),
    ):
        if names:
            raise ValueError(
                f"the checkpoint does not fit the model: it {what} {names[:4]}"
                + (f" and {len(names) - 4} more" if len(names) > 4 else "")
                + "; compare 'num_layers', 'hidden_channels', 'group' and "
                "'norm', and leave out 'radial_basis' and pool='attention'"
            )


def _set_radii(net: LieResNet, radii: list[Tensor]) -> None:
    """The radius of each block; blocks get their own graphs where these differ."""
    if any(bool(radius.isnan()) for radius in radii):
        return
    first = [radii[net.graph_of.index(which)] for which in net.graph_of]
    if any(r != one for r, one in zip(radii, first, strict=True)):
        copies = [copy.deepcopy(net.neighborhoods[which]) for which in net.graph_of]
        net.neighborhoods = torch.nn.ModuleList(copies)
        net.graph_of = list(range(net.num_layers))
    for radius, which in zip(radii, net.graph_of, strict=True):
        neighborhood = cast(GroupNeighborhood, net.neighborhoods[which])
        neighborhood.radius.copy_(radius)
