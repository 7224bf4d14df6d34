"""Training of a network on one target of molecules."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch_geometric.data import Data
from torchmetrics import MeanAbsoluteError, MeanMetric

from lieconv_pyg.checkpoints import stamp, target_of
from lieconv_pyg.datasets import Statistics, Target
from lieconv_pyg.datasets.targets import NUM_ELEMENTS
from lieconv_pyg.training.base import NetworkModule


class Output(NamedTuple):
    """What the network gives for a batch beside what it should give, normalised:
    (B) or (B, 3), and both forces (N, 3) in their unit if they are trained."""

    out: Tensor
    y: Tensor
    forces: tuple[Tensor, Tensor] | None


class MoleculeModule(NetworkModule):
    r"""Trains a network with an L1 loss on the normalised target.

    .. math::
        \mathcal{L} = \left| f(z, x) - \frac{y - \sum_a e(z_a) - m}{s} \right|
        + w \, \frac{\left| F(z, x) - F \right|}{s_F}

    with the references :math:`e`, the median :math:`m` and the median absolute
    deviation :math:`s` of the training molecules. They are buffers, saved with the
    weights, as is the radius, which is calibrated on the first training molecules
    before the first step. The second term is for energies with forces: :math:`F(z, x)`
    is the negative gradient of the energy in the positions, :math:`s_F` the mean
    absolute component of the training forces. Adam, with a linear warm-up and a cosine
    to 0 by step.

    A vector target (a dipole) has three components, :math:`e = m = 0`, and errors are
    those of a component.

    Args:
        network: Any module with ``forward(z, pos, batch)`` that returns one value for
            each molecule, (B, 1), or (B, 3) for a vector; then its attribute
            ``out_vectors`` must be true. If it has ``calibrate(pos, batch)``, that is
            called before training. If it has ``penalty()``, that is added to the loss.
            If it has ``species``, the data must keep to them.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        force_weight: The weight w of the forces in the loss. By default the energies
            alone are trained.
        symmetry_weight: Weight, in the loss of training, of the penalties and priors of
            relaxed layers (:class:`~lieconv_pyg.nn.RelaxedLieConv`,
            :class:`~lieconv_pyg.nn.RPPLieConv`), if the network has any.

    Raises:
        ValueError: If an argument is out of range, or forces are to be trained with a
            network that has batch norms.
    """

    median: Tensor
    mad: Tensor
    references: Tensor

    def __init__(
        self,
        network: torch.nn.Module,
        lr: float = 3e-3,
        warmup: float = 0.01,
        force_weight: float | None = None,
        symmetry_weight: float = 1e-4,
    ) -> None:
        super().__init__(network, lr, warmup, symmetry_weight)
        if force_weight is not None and not force_weight > 0:
            raise ValueError(f"force_weight must be positive, got {force_weight}")
        if force_weight and any(isinstance(m, _BatchNorm) for m in network.modules()):
            raise ValueError(
                "force_weight: a batch norm makes the energy of a molecule depend on "
                "the others of its batch, so that there are no forces to train; set "
                "the network's norm to null or layer_norm"
            )
        self.force_weight = force_weight
        self.force_scale = 1.0
        self.target: Target | None = None
        zero = torch.zeros((), dtype=torch.float64)
        self.register_buffer("median", zero)
        self.register_buffer("mad", torch.ones_like(zero))
        self.register_buffer("references", zero.repeat(NUM_ELEMENTS))
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.metrics = torch.nn.ModuleDict(
            {
                f"{stage}_{name}": MeanAbsoluteError()
                for stage in ("val", "test")
                for name in ("mae", "force_mae")
            }
        )

    def set_target(self, target: Target, statistics: Statistics) -> None:
        """Takes over what the network's output stands for."""
        self.target = target
        self.median.fill_(statistics.median)
        self.mad.fill_(statistics.mad)
        self.references.copy_(statistics.references)
        self.force_scale = statistics.force_scale or 1.0

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, sets statistics
        and radius."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "statistics"):
            return
        self.check(data)
        if stage != "fit":
            return
        self.set_target(data.target, data.statistics)
        batch = data.calibration_batch()
        self.calibrate(batch.pos, batch.batch)

    def check(self, data: Any) -> None:
        r"""Checks that network and data go together.

        Raises:
            ValueError: If the network's :obj:`species` lack elements of the data, if it
                gives numbers where the target is a vector or the reverse, or if there
                are no forces to train.
        """
        check_species(self.network, data.elements())
        is_vector = data.target.num_components > 1
        if is_vector != bool(getattr(self.network, "out_vectors", False)):
            name = type(self.network).__name__
            kinds = ("vector", "numbers") if is_vector else ("number", "vectors")
            raise ValueError(
                f"the target {data.target.name} is a {kinds[0]}, {name} gives "
                f"{kinds[1]}: take MoleculeLieResNet with out_vectors {is_vector}"
            )
        if self.force_weight and data.parts[0].forces is None:
            raise ValueError(
                f"force_weight is set, and {data.parts[0].source} has no forces for "
                f"{data.target.name}: leave force_weight out"
            )

    def offset(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        r"""References plus median, :math:`\sum_a e(z_a) + m`: (B), float64."""
        total = self.references.new_zeros(num_graphs)
        return total.index_add(0, batch, self.references[z]) + self.median

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        """The target of each molecule in its unit: (B), or (B, 3) for a vector,
        float64; differentiable in the positions."""
        if batch is None:
            batch = torch.zeros_like(z)
        return self._in_units(self._network(z, pos, batch), z, batch)

    def _in_units(self, out: Tensor, z: Tensor, batch: Tensor) -> Tensor:
        out = out.to(self.mad.dtype) * self.mad
        return out if out.dim() > 1 else out + self.offset(z, batch, out.size(0))

    def forces(self, energy: Tensor, pos: Tensor, create_graph: bool = False) -> Tensor:
        """Minus the gradient of the energies (B) in the positions: (N, 3)."""
        (grad,) = torch.autograd.grad(energy.sum(), pos, create_graph=create_graph)
        return -grad

    def _network(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """The network's output (B) or (B, 3), in float64 where the network is."""
        pos = pos.to(torch.promote_types(pos.dtype, cast(torch.dtype, self.dtype)))
        return self.network(z, pos, batch).squeeze(-1)

    def _compare(self, batch: Data) -> Output:
        """Network and data for a batch."""
        with_forces = self.force_weight is not None
        if with_forces and torch.is_inference_mode_enabled():
            raise ValueError(
                "forces need gradients: give Trainer(inference_mode=False)"
            )
        pos = batch.pos.detach().requires_grad_() if with_forces else batch.pos
        with torch.set_grad_enabled(with_forces or torch.is_grad_enabled()):
            out = self._network(batch.z, pos, batch.batch)
            out = out.to(torch.promote_types(out.dtype, torch.float32))
            forces = None
            if with_forces:
                found = self.forces(out, pos, self.training) * self.mad.to(out.dtype)
                forces = (found, batch.forces.to(found.dtype))
        y = batch.y.view(out.shape)
        if out.dim() == 1:
            y = y - self.offset(batch.z, batch.batch, batch.num_graphs)
        return Output(out, (y / self.mad).to(out.dtype), forces)

    def _loss(self, o: Output) -> Tensor:
        loss = F.l1_loss(o.out, o.y)
        if o.forces is None or self.force_weight is None:
            return loss
        return loss + self.force_weight / self.force_scale * F.l1_loss(*o.forces)

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The L1 loss on normalised targets, and on forces."""
        o = self._compare(batch)
        loss = self._loss(o)
        mae = F.l1_loss(o.out.detach(), o.y) * self.mad.to(o.out.dtype)
        errors = {"train/loss": loss.detach(), "train/mae": mae}
        if o.forces is not None:
            errors["train/force_mae"] = F.l1_loss(*o.forces).detach()
        self.log_dict(
            errors, on_step=False, on_epoch=True, batch_size=len(o.y), sync_dist=True
        )
        self._divergence.note(loss.detach(), batch)
        return loss + self.penalty()

    def _evaluate(self, batch: Data, stage: str) -> Output:
        o = self._compare(batch)
        mad = self.mad.to(o.y.dtype)
        metric = cast(MeanAbsoluteError, self.metrics[f"{stage}_mae"])
        metric.update(o.out.detach() * mad, o.y * mad)
        shown: dict[str, Any] = {f"{stage}/mae": metric}
        if o.forces is not None:
            metric = cast(MeanAbsoluteError, self.metrics[f"{stage}_force_mae"])
            metric.update(*o.forces)
            shown[f"{stage}/force_mae"] = metric
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(o.y))
        return o

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """The loss, and the mean absolute errors in their units."""
        o = self._evaluate(batch, "val")
        loss = self._loss(o).detach()
        self.val_loss.update(loss, len(o.y))
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)
        self._validation.note(loss, batch)

    def test_step(self, batch: Data, batch_idx: int) -> dict[str, Any]:
        """The mean absolute errors; returns target, prediction and the offset."""
        o = self._evaluate(batch, "test")
        offset = self.offset(batch.z, batch.batch, batch.num_graphs)
        predicted = self._in_units(o.out.detach(), batch.z, batch.batch)
        return {
            "name": list(batch.name),
            "target": batch.y.view(o.out.shape).cpu(),
            "prediction": predicted.cpu(),
            "offset": offset.view(-1, *[1] * (o.out.dim() - 1)).expand_as(o.out).cpu(),
        }

    def predict_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The target of each molecule in its unit."""
        return self(batch.z, batch.pos, batch.batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the target and the version of the package, as plain values."""
        stamp(checkpoint, "molecules", self.target)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the target; refuses another than the data's."""
        data = getattr(self._trainer, "datamodule", None)
        self.target = target_of(checkpoint, getattr(data, "target", None))


def check_species(network: torch.nn.Module, elements: list[int]) -> None:
    r"""Checks that a network knows the elements of the data.

    Raises:
        ValueError: If its :obj:`species` lack some of them.
    """
    species = getattr(network, "species", None)
    if species is None:
        return
    known = species.tolist() if isinstance(species, Tensor) else list(species)
    missing = sorted(set(elements) - set(known))
    if missing:
        remedy = f"set its species to {sorted(set(known) | set(elements))}"
        if isinstance(species, range):
            remedy = f"{type(network).__name__} knows those up to {species[-1]}"
        raise ValueError(
            f"the network was not built for the atomic numbers {missing}: {remedy}"
        )
