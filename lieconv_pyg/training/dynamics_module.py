"""Training of dynamics on chunks of trajectories."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter
from torchmetrics import MeanMetric

from lieconv_pyg.checkpoints import stamp
from lieconv_pyg.dynamics import Dynamics, HamiltonianDynamics
from lieconv_pyg.dynamics.integrate import solve
from lieconv_pyg.dynamics.rollout import common_times
from lieconv_pyg.training.base import NetworkModule


class DynamicsModule(NetworkModule):
    r"""Trains a network on rollouts from the first state of chunks of trajectories,

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_b \frac{1}{T D_b}
        \sum_t \| \hat z_b(t) - z_b(t) \|^2,

    the mean over systems of their mean over all numbers of all states of a chunk, the
    first included, as in `LieConv <https://arxiv.org/abs/2002.12880>`_ (Section 6.3),
    by RK4 with the steps of the data. Adam, with a linear warm-up and a cosine to 0 by
    step.

    Args:
        network: The dynamics.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        substeps: Steps of the integrator between two states.
        recompute: Whether derivatives are computed twice, so that the memory is that
            of one of them, and not of all in a chunk.
        compile: Whether :func:`torch.compile` is applied to the network, for networks
            that have no Hamiltonian: torch does not compile what is differentiated
            twice.
        symmetry_weight: Weight, in the loss of training, of the penalties and priors of
            relaxed layers (:class:`~lieconv_pyg.nn.RelaxedLieConv`,
            :class:`~lieconv_pyg.nn.RPPLieConv`), if the network has any.

    Raises:
        ValueError: If an argument is out of range, or such a network is to be compiled.
    """

    def __init__(
        self,
        network: Dynamics,
        lr: float = 1e-3,
        warmup: float = 0.01,
        substeps: int = 1,
        recompute: bool = False,
        compile: bool = False,
        symmetry_weight: float = 1e-4,
    ) -> None:
        super().__init__(network, lr, warmup, symmetry_weight)
        if substeps < 1:
            raise ValueError(f"substeps must be at least 1, got {substeps}")
        self.substeps = substeps
        self.diverged_at: float | None = None
        self.errors = torch.nn.ModuleDict(
            {s: MeanMetric(nan_strategy="disable") for s in ("val", "test")}
        )
        self.recompute = recompute
        if compile and isinstance(network, HamiltonianDynamics):
            raise ValueError(
                f"compile: forces of {network} are derivatives, and torch does not "
                "compile what is differentiated twice; leave compile out"
            )
        if compile:
            network.compile()

    def check(self, data: Any) -> None:
        r"""Checks that the network is one for the system of the data.

        Raises:
            ValueError: If it has another dimension, or other numbers of parameters or
                of particles.
        """
        few = Batch.from_data_list(data.system.sample(8))
        self._check_state(few.x, few.pos, few.momentum, few.batch)
        here, there = (
            data.system(few.x, few.pos + shift, few.momentum, few.batch)
            for shift in (0.0, 1.0)
        )
        moves = [not torch.allclose(*pair) for pair in zip(here, there, strict=True)]
        if self.network.center and any(moves):
            warnings.warn(
                f"{data.system} depends on where it is, and {self.network} subtracts "
                "the mean of the positions: set its center to false",
                stacklevel=2,
            )

    def _check_state(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor
    ) -> Tensor:
        """Positions, in the precision of the weights."""
        dtype = self._network_dtype
        self.network.check(x.to(dtype), pos.to(dtype), momentum.to(dtype), batch)
        return pos.to(dtype)

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, sets radii."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        first = data.calibration_batch()
        state = first.pos[:, 0], first.momentum[:, 0]
        pos = self._check_state(first.x, *state, first.batch)
        if stage == "fit":
            self.calibrate(pos, first.batch)

    @property
    def _network_dtype(self) -> Any:
        """That of the weights, which may be another than Lightning knows of."""
        return next((p.dtype for p in self.network.parameters()), self.dtype)

    def forward(self, batch: Data) -> Tensor:
        """The states :math:`(T, N, 2 d)` of a rollout at the times of a batch.

        Raises:
            ValueError: In inference mode, where a Hamiltonian has no gradient.
        """
        hamiltonian = isinstance(self.network, HamiltonianDynamics)
        if hamiltonian and torch.is_inference_mode_enabled():
            raise ValueError(
                "forces need gradients: give Trainer(inference_mode=False)"
            )
        self.diverged_at = None
        dtype = self._network_dtype
        x = batch.x.to(dtype)
        state = torch.cat([batch.pos[:, 0], batch.momentum[:, 0]], dim=1).to(dtype)

        def derivative(t: Tensor, z: Tensor) -> Tensor:
            if not bool(z.isfinite().all()):
                if self.diverged_at is None:
                    self.diverged_at = float(t)
                return z * torch.nan  # and so is the loss, which stops the run
            q, p = z.chunk(2, dim=1)
            found = self.network(x, q, p, batch.batch, batch.num_graphs)
            return torch.cat(found, dim=1)

        recompute = self.recompute and torch.is_grad_enabled()
        parameters = self.network.parameters() if recompute else None
        times = common_times(batch)
        return solve(
            derivative, state, times, substeps=self.substeps, recompute=parameters
        )

    def loss(self, batch: Data) -> Tensor:
        """The mean square error of the rollouts of a batch."""
        return self._errors(batch).mean()

    def _errors(self, batch: Data) -> Tensor:
        """The mean square error of each system :math:`(B)`."""
        found = self(batch)
        true = torch.cat([batch.pos, batch.momentum], dim=2).transpose(0, 1)
        errors = (found - true.to(found.dtype)).square().mean((0, 2))
        return scatter(errors, batch.batch, 0, batch.num_graphs, "mean")

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The mean square error."""
        loss = self.loss(batch)
        if self.trainer.world_size > 1:
            # A constant in an energy moves nothing, and has a gradient that is none:
            # processes wait for those of all parameters.
            loss = loss + 0 * sum(p.sum() for p in self.network.parameters())
        self.log(
            "train/loss",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=batch.num_graphs,
            sync_dist=True,
        )
        self._divergence.note(loss.detach(), batch)
        return loss + self.penalty()

    def _evaluate(self, batch: Data, stage: str) -> Tensor:
        errors = self._errors(batch).detach()
        metric = cast(MeanMetric, self.errors[stage])
        metric.update(errors)
        self.log(f"{stage}/loss", metric, on_step=False, on_epoch=True)
        return errors.mean()

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """The mean square error."""
        self._validation.note(self._evaluate(batch, "val"), batch)

    def test_step(self, batch: Data, batch_idx: int) -> None:
        """The mean square error; warns of rollouts that diverge."""
        self._evaluate(batch, "test")
        if self.diverged_at is not None:
            warnings.warn(
                "rollouts of test chunks diverge, the first of a batch at t = "
                f"{self.diverged_at:.4g} after their beginning",
                stacklevel=2,
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the version of the package."""
        stamp(checkpoint, "dynamics")
