"""What layers whose symmetry is relaxed add to a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.lifting import Lifted
from lieconv_pyg.nn import RelaxedLieConv, RPPLieConv, pathway_prior


class SoftSymmetry:
    r"""Penalties of a network's :class:`~lieconv_pyg.nn.RelaxedLieConv` layers at the
    lifted points that they were last called with in training, and priors of its
    :class:`~lieconv_pyg.nn.RPPLieConv` layers: for a training loop of your own with
    networks that lift their points themselves.

    Args:
        network: The network.
        weight: What their sum is multiplied with.

    Raises:
        ValueError: If the weight is negative.

    Example:
        >>> model = MoleculeLieResNet(SE3(), augment=False, conv=RelaxedLieConv)
        >>> soft = SoftSymmetry(model, 1e-4)
        >>> loss = F.l1_loss(model(z, pos, batch), y) + soft.penalty()
    """

    def __init__(self, network: torch.nn.Module, weight: float) -> None:
        if not 0 <= weight < float("inf"):
            raise ValueError(f"symmetry_weight must be at least 0, got {weight}")
        self.network, self.weight = network, weight
        self._lifted: dict[RelaxedLieConv, Lifted] = {}
        layers = list(network.modules()) if weight > 0 else []
        self._has_prior = any(isinstance(layer, RPPLieConv) for layer in layers)
        for layer in layers:
            if isinstance(layer, RelaxedLieConv):
                layer.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, layer: Any, args: tuple, kwargs: dict) -> None:
        if layer.training:
            lifted = args[1] if len(args) > 1 else kwargs["lifted"]
            if not isinstance(lifted, Lifted):  # sources and targets
                lifted = lifted[layer.side == "output"]
            self._lifted[layer] = lifted

    def penalty(self) -> Tensor | float:
        """The penalty, of the points since it was last asked for; 0 without such
        layers."""
        total: Tensor | float = 0.0
        while self._lifted:
            layer, lifted = self._lifted.popitem()
            total = total + layer.penalty(lifted)
        if self._has_prior:
            total = total + pathway_prior(self.network)
        return self.weight * total
