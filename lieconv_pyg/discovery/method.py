"""What all ways to find a symmetry have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.discovery.pairs import Representation


@dataclass(frozen=True)
class Player:
    r"""Parameters that are trained, and the loss that they make small.

    Args:
        name (str): Of the loss, in logs.
        loss (Callable): The loss of a batch :math:`(x, y)`.
        parameters (iterable of Parameter): What it trains.
        lr (float): Share of the learning rate.
        betas (tuple of float): Of Adam.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    parameters: Iterable[torch.nn.Parameter]
    lr: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)


class DiscoveryMethod(torch.nn.Module, ABC):
    r"""Learns generators of the symmetry of pairs :math:`(x, y)`.

    Args:
        representation: How the group acts on them.
    """

    #: Whether its elements are drawn at random, so that they can be seen to do nothing.
    draws = True

    def __init__(self, representation: Representation) -> None:
        super().__init__()
        if not isinstance(representation, Representation):
            raise TypeError(
                "'representation' must be a Representation, such as that of pairs, "
                f"pairs.representation (got {type(representation).__name__})"
            )
        self.representation = representation

    @abstractmethod
    def players(self) -> list[Player]:
        """Who is trained, one after the other on each batch."""

    @abstractmethod
    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        r"""The generators :math:`(c, n, n)` that were found, with their lengths as
        they are used. Some methods need the training data for it."""

    def elements(self, num: int) -> Tensor:
        """Random elements :math:`(B, n, n)`, of methods that draw them."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Begins anew."""
        for module in self.modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if reset is not None and module is not self:
                reset()

    def start_epoch(self, epoch: int, num_epochs: int) -> None:
        """Told before each epoch."""

    @torch.no_grad()
    def displacement(self, x: Tensor) -> float:
        r"""How far elements move vectors :math:`(B, k, n)`: the mean of
        :math:`\| g x - x \| / \| x \|`, 0 where they do nothing."""
        moved, _ = self.representation.act(self.elements(len(x)), x, x)
        away = (moved - x).norm(dim=-1) / x.norm(dim=-1).clamp(min=1e-30)
        return float(away.mean())

    def collapsed(self, x: Tensor) -> str | None:
        """What is wrong with what was learned, or nothing: elements that do nothing
        fool any discriminator."""
        if not self.draws:
            return None
        found = self.displacement(x)
        if not found < 1e6:
            return f"elements move points {found:.1e} times as far as they are"
        if found < 0.02:
            return f"elements move points by {100 * found:.2g} % only"
        return None
