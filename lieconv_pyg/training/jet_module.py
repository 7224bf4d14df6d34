"""Training of a classifier of jets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lieconv_pyg.checkpoints import stamp
from lieconv_pyg.training.classifier import ClassifierModule


class JetModule(ClassifierModule):
    r"""Trains a network to tell jets of top quarks from others, by the cross entropy of
    its outputs. Adam, with a linear warm-up and a cosine to 0 by step.

    It logs the loss, and the error: the share of jets in %, of which the other class
    has the larger output. What is best is the epoch with the smallest error in
    validation.

    Args:
        network: Any module with ``forward(pos, batch, batch_size)`` that returns a
            number for each class, (B, 2), of momenta (N, 4) in the precision that the
            data have: double for toy jets. If it has ``calibrate(pos, batch)``, that is
            called before training.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        symmetry_weight: Weight, in the loss of training, of the penalties and priors of
            relaxed layers (:class:`~lieconv_pyg.nn.RelaxedLieConv`,
            :class:`~lieconv_pyg.nn.RPPLieConv`), if the network has any.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        lr: float = 3e-3,
        warmup: float = 0.05,
        symmetry_weight: float = 1e-4,
    ) -> None:
        super().__init__(network, lr, warmup, symmetry_weight)

    def check(self, data: Any) -> None:
        r"""Checks that network and data go together.

        Raises:
            ValueError: If the network was built for another number of classes.
        """
        number = data.num_classes
        built = getattr(self.network, "out_channels", number)
        if built != number:
            raise ValueError(
                f"the network was built for out_channels {built}, and jets are of "
                f"{number} classes: leave out_channels out"
            )

    def _to_network(self, pos: Tensor) -> Tensor:
        # Boosts and invariants need what precision there is.
        return pos

    def forward(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The probability of background and signal for each jet (B, 2)."""
        return self._outputs(pos, batch, batch_size).softmax(1)

    def _outputs(
        self, pos: Tensor, batch: Tensor | None, batch_size: int | None
    ) -> Tensor:
        """The network's outputs (B, 2), in single precision or above."""
        out = self.network(self._to_network(pos), batch, batch_size)
        return out.to(torch.promote_types(out.dtype, torch.float32))

    def outputs_of(self, batch: Data) -> Tensor:
        """The network's outputs (B, 2) for a batch, in single precision or above."""
        return self._outputs(batch.pos, batch.batch, batch.num_graphs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the version of the package."""
        stamp(checkpoint, "jets")
