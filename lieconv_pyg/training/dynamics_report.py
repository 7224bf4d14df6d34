"""What a run on dynamics leaves: rollouts, what is conserved, figures."""

from __future__ import annotations

import copy
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch_geometric.data import Batch, Data

from lieconv_pyg.dynamics import (
    ConservationReport,
    Dynamics,
    HamiltonianDynamics,
    RolloutErrors,
    Trajectory,
    conserved_along,
    rollout,
    rollout_errors,
)
from lieconv_pyg.dynamics.plots import animate, plot_errors, plot_trajectories
from lieconv_pyg.training.plots import learning_curve
from lieconv_pyg.training.report import RunReport, model_name
from lieconv_pyg.training.results import text_table


@dataclass(frozen=True)
class Rollouts:
    r"""Dynamics followed from the first states of test trajectories.

    Args:
        errors (RolloutErrors): Beside the true trajectories.
        conserved (ConservationReport): Which momenta, and whether the energy, they
            keep.
        true_errors (RolloutErrors): What energy and momenta of the true trajectories
            change by.
        true (Tensor): True positions of the first system, (N, T, d).
        learned (Tensor): Those of the rollout, alike.
    """

    errors: RolloutErrors
    conserved: ConservationReport
    true_errors: RolloutErrors
    true: Tensor
    learned: Tensor

    @classmethod
    def of(
        cls, network: Dynamics, system: HamiltonianDynamics, data: Batch
    ) -> Rollouts:
        r"""Follows a network in double precision with the steps of the data: by the
        symplectic integrator of order 4 where the dynamics have a potential, which
        itself changes no momentum that they keep, and by RK4 where they have none.

        Args:
            network (Dynamics): The network, which stays as it is.
            system (HamiltonianDynamics): The true system.
            data (Batch): A batch of whole trajectories.
        """
        network = copy.deepcopy(network).double().eval()
        path = rollout(network, data, "yoshida4" if network.is_separable else "rk4")
        true = Trajectory(
            *(data.pos, data.momentum, path.times, torch.full((data.num_graphs,), nan))
        )
        x = data.x.to(path.pos)
        batch, first = data.batch.to(x.device), data.batch == 0
        return cls(
            rollout_errors(path, system, data),
            conserved_along(network, x, path, batch),
            rollout_errors(true, system, data),
            data.pos[first],
            path.pos.cpu()[first],
        )


@dataclass(frozen=True)
class DynamicsTest:
    r"""What the test of trained dynamics finds.

    Args:
        model (str): What was trained.
        source (str): On which systems.
        loss (float): Mean square error of the test chunks.
        num_parameters (int): Size of the model.
        num_train (int): Number of training chunks.
        free_loss (float, optional): The error of free motion, without forces.
        rollouts (Rollouts, optional): Long rollouts.
        seconds (float, optional): Time of the training.
    """

    model: str
    source: str
    loss: float
    num_parameters: int
    num_train: int
    free_loss: float | None = None
    rollouts: Rollouts | None = None
    seconds: float | None = None

    def cells(self) -> list[str]:
        """A row of :func:`dynamics_table`."""
        found = [self.model, f"{self.loss:.2e}"]
        if self.rollouts is not None:
            errors, conserved = self.rollouts.errors, self.rollouts.conserved
            middle = errors.state.nanmedian(0).values
            out = int((~errors.diverged_at.isnan()).sum())
            found += [
                f"{middle[len(middle) // 5]:.2g}",
                f"{middle[-1]:.2g}",
                *(f"{conserved.drift(name):.0e}" for name in "PL"),
                f"{out} of {errors.diverged_at.numel()}",
            ]
        time = "" if self.seconds is None else f"{self.seconds:.0f} s"
        return [*found, f"{self.num_parameters:,}", time]


def dynamics_table(results: Sequence[DynamicsTest]) -> list[list[str]]:
    """Test errors of networks as rows of cells, the head first: the mean square error
    of the test chunks; of long rollouts the median error of the state after a fifth of
    the time and at the end, the largest relative drifts of linear and angular momentum,
    and how many diverge."""
    head = ["network", "test MSE"]
    rollouts = results[0].rollouts
    if rollouts is not None:
        end = float(rollouts.errors.times[-1])
        head += [f"error at t = {end / 5:.2g}", f"at {end:.2g}"]
        head += ["drift of P", "drift of L", "diverged"]
    rows = [[*head, "parameters", "training"], *(r.cells() for r in results)]
    if results[0].free_loss is not None:
        free = ["free motion", f"{results[0].free_loss:.2e}"]
        rows.append(free + [""] * (len(rows[0]) - len(free)))
    return rows


class DynamicsReport(RunReport):
    r"""Keeps the loss of each epoch, follows test systems after the training, and
    writes ``rollouts.csv``, ``rollouts.png``, ``conserved.txt``, ``trajectories.png``,
    ``trajectories.gif`` and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.test: DynamicsTest | None = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follows test systems, on the first process."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        network: Dynamics = pl_module.network  # type: ignore[assignment]
        rollouts = None
        trial = bool(getattr(trainer, "fast_dev_run", False))
        if data.num_rollouts and trainer.is_global_zero and not trial:
            rollouts = Rollouts.of(network, data.system, data.rollouts())
        self.test = DynamicsTest(
            model=model_name(network),
            source=str(data.system),
            loss=float(trainer.callback_metrics["test/loss"]),
            num_parameters=sum(p.numel() for p in network.parameters()),
            num_train=len(data.parts[0]),
            free_loss=free_motion_error(data.parts[2]),
            rollouts=rollouts,
            seconds=self.seconds,
        )
        if self.folder is not None and trainer.is_global_zero:
            self._write(self.folder, self.test)

    def _write(self, folder: Path, test: DynamicsTest) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.history:
            path = folder / "learning_curve.png"
            learning_curve({test.model: self.history}, "mean square error", path)
            self.files.append(path)
        if test.rollouts is None:
            return
        found = test.rollouts
        _write_errors(found.errors, folder / "rollouts.csv")
        figure = folder / "rollouts.png"
        plot_errors({test.model: found.errors}, figure, found.true_errors)
        (folder / "conserved.txt").write_text(f"{found.conserved}\n")
        names = ["rollouts.csv", "rollouts.png", "conserved.txt"]
        if found.true.size(2) > 1:
            ways = {test.model: found.learned}
            plot_trajectories(found.true, ways, folder / "trajectories.png")
            animate(found.true, ways, folder / "trajectories.gif")
            names += ["trajectories.png", "trajectories.gif"]
        self.files += [folder / name for name in names]


def free_motion_error(chunks: Sequence[Data]) -> float:
    """The mean square error of particles that keep their velocities, as
    :meth:`DynamicsModule.loss` has that of a network: what there is to learn."""
    errors = []
    for data in chunks:
        velocity = data.momentum[:, :1] / data.x[:, :1, None]
        times = (data.t - data.t[:, :1]).unsqueeze(2)
        off = (
            data.pos[:, :1] + times * velocity - data.pos,
            data.momentum[:, :1] - data.momentum,
        )
        errors.append(torch.cat(off, dim=2).square().mean())
    return float(torch.stack(errors).mean())


def _write_errors(errors: RolloutErrors, path: Path) -> None:
    """Medians over the systems, a row for each time."""
    names = ("state", "energy", "linear", "angular")
    middle = [getattr(errors, name).nanmedian(0).values for name in names]
    rows = torch.stack([errors.times, *middle], dim=1).tolist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *names])
        writer.writerows([[f"{value:.6g}" for value in row] for row in rows])


def dynamics_text(results: Sequence[DynamicsTest]) -> str:
    """Test errors as text."""
    first = results[0]
    head = f"{first.source}, trained on {first.num_train} chunks"
    return "\n".join([head, "", *text_table(dynamics_table(results))])
