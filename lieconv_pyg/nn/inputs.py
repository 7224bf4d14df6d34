"""Checks of what a network is given."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from lieconv_pyg.groups.minkowski import mass_square
from lieconv_pyg.lifting import Lifted, check_points_and_batch

_ROUNDING = 1e-3  # of E^2, by which a squared mass may be negative


def per_layer(name: str, value: Any, num_layers: int) -> list:
    """The value of each layer, from one for all or a sequence of one for each."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    values = list(value) if several else [value] * num_layers
    if len(values) != num_layers:
        raise ValueError(
            f"'{name}' must be one value or {num_layers} (got {len(values)})"
        )
    return values


def check_message_passing(name: str, kwargs: Mapping[str, Any]) -> None:
    """Checks arguments of a layer that are left for MessagePassing."""
    if unknown := kwargs.keys() - inspect.signature(MessagePassing).parameters.keys():
        raise TypeError(
            f"{name}, and what passes arguments on to it, got an unexpected keyword "
            f"argument {min(unknown)!r}"
        )
    if kwargs.get("flow", "source_to_target") != "source_to_target":
        raise ValueError(
            "'flow' must be 'source_to_target', which pair coordinates are for: flip "
            "the rows of 'edge_index' instead"
        )


def check_features(x: Tensor, channels: int, dtype: torch.dtype) -> None:
    """Checks features of points for a network with so many channels."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(
            f"'x' must be a floating-point tensor of shape (points, {channels})"
        )
    if x.dim() not in (2, 3) or x.size(-1) != channels or x.size(0) == 0:
        raise ValueError(
            f"'x' must be of shape (points, {channels}), or (examples, points, "
            f"{channels}) where all have the same points (got {tuple(x.shape)})"
        )
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"'x' is {x.dtype} and the model {dtype}: convert one of them")


def check_rows(
    x: Optional[Tensor],
    pos: Tensor,
    batch: Tensor,
    batch_size: int,
    channels: int,
    dtype: torch.dtype,
) -> None:
    """Checks that features, if there are any, are those of points, and points those of
    so many examples."""
    _check_batch_size(batch_size, int(batch[-1]) + 1)
    if x is None:
        return
    if isinstance(x, Tensor) and x.dim() == 2 and x.size(1) != channels:
        raise ValueError(
            f"'x' has {x.size(1)} channels, and the network was built for "
            f"'in_channels={channels}'"
        )
    check_features(x, channels, dtype)
    if x.shape[:-1] != pos.shape[:-1]:
        raise ValueError(f"'x' has rows {tuple(x.shape[:-1])} for {len(pos)} points")


def check_fit(x: Tensor, lifted: Lifted, batch_size: Optional[int]) -> None:
    """Checks that features are those of the lifted points."""
    num_points = int(lifted.point.max()) + 1
    if x.size(-2) != num_points:
        raise ValueError(f"'x' has {x.size(-2)} rows for {num_points} points")
    number = int(lifted.batch[-1]) + 1
    if x.dim() == 3 and number > 1:
        raise ValueError(
            f"'x' has {x.size(0)} examples that share their points: give those of one "
            f"(got {number} in 'batch')"
        )
    if x.dim() == 3 and batch_size not in (None, x.size(0)):
        raise ValueError(
            f"'batch_size' must be {x.size(0)}, the number of examples in 'x' (got "
            f"{batch_size})"
        )
    _check_batch_size(batch_size, number)


def _check_batch_size(batch_size: Optional[int], number: int) -> None:
    if batch_size is not None and batch_size < number:
        raise ValueError(
            f"'batch_size' must be at least {number}, the number of examples in "
            f"'batch' (got {batch_size})"
        )


def check_vectors(
    vectors: Optional[Tensor], x: Tensor, number: int, space_dim: int
) -> Tensor:
    """The vectors of points, if they are so many for each."""
    shape = (*x.shape[:-1], number, space_dim)
    if vectors is None or vectors.shape != shape:
        found = None if vectors is None else tuple(vectors.shape)
        raise ValueError(f"'vectors' must be of shape {shape} (got {found})")
    return vectors


def check_momenta(
    pos: Tensor, batch: Optional[Tensor], batch_size: Optional[int]
) -> tuple[Tensor, Tensor, int]:
    """Four-momenta in float64, the batch vector and the number of examples.

    Raises:
        ValueError: If shapes do not fit, or momenta are those of no particle.
    """
    batch = check_points_and_batch(pos, batch)
    if pos.size(1) != 4:
        raise ValueError(
            "'pos' must have four-momenta (E, px, py, pz) as rows (got "
            f"{tuple(pos.shape)})"
        )
    energy = pos.detach()[:, 0].double()
    # Momenta that were rounded, and boosted after that, are spacelike by a little.
    limit = _ROUNDING * energy.square()
    bad = (mass_square(pos.detach()) < -limit) | (energy < 0)
    if bool(bad.any()):
        raise ValueError(
            f"'pos' has {int(bad.sum())} momenta (E, px, py, pz) with E < |p|, which "
            f"no particle has; the first is in row {int(bad.long().argmax())}"
        )
    number = int(batch[-1]) + 1
    _check_batch_size(batch_size, number)
    return pos.double(), batch, number if batch_size is None else batch_size
