"""Normalization layers."""

from typing import Any, Optional

import torch
from torch_geometric.nn.resolver import normalization_resolver

# How PyG's normalizations are to be used here: batch norm must bear a graph with a
# single point, or a single edge; layer norm must not mix points.
_NORMS: dict[str, dict[str, Any]] = {
    "batch_norm": {"allow_single_element": True},
    "layer_norm": {"mode": "node"},
}


def norm_arguments(norm: Optional[str]) -> dict[str, Any]:
    """The arguments 'norm' and 'norm_kwargs' of PyG's MLP.

    Raises:
        ValueError: for normalizations that mix the examples of a batch.
    """
    if norm is None:
        return {"norm": None, "norm_kwargs": {}}
    for name, kwargs in _NORMS.items():
        if isinstance(norm, str) and norm.lower() in (name, name.replace("_", "")):
            return {"norm": name, "norm_kwargs": kwargs}
    raise ValueError(
        f"'norm' must be {', '.join(map(repr, _NORMS))} or None (got {norm!r})"
    )


def make_norm(norm: Optional[str], channels: int) -> torch.nn.Module:
    """The normalization layer of that name, or the identity for :obj:`None`."""
    arguments = norm_arguments(norm)
    if arguments["norm"] is None:
        return torch.nn.Identity()
    return normalization_resolver(
        arguments["norm"], channels, **arguments["norm_kwargs"]
    )
