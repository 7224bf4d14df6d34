"""Trained models as ASE calculators."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols as symbols
from torch import Tensor

from lieconv_pyg.checkpoints import load_molecules
from lieconv_pyg.datasets import Target, is_dipole, is_energy
from lieconv_pyg.datasets.targets import NUM_ELEMENTS
from lieconv_pyg.datasets.units import dipole_factor, energy_factor, is_potential
from lieconv_pyg.nn import MoleculeLieResNet


class LieConvCalculator(Calculator):
    r"""An ASE calculator for a trained model, for optimisers, dynamics and
    everything else that takes one.

    .. code-block:: python

        atoms.calc = LieConvCalculator("runs/ethanol/checkpoints/best.ckpt")
        atoms.get_potential_energy(), atoms.get_forces()

    A model of an energy gives :obj:`energy` and :obj:`free_energy` (the same, in eV)
    and :obj:`forces` (eV/Å), the negative gradient by automatic differentiation. A
    model of a dipole vector gives :obj:`dipole` (e·Å). Which of them there are is in
    :obj:`implemented_properties`. Stresses are not computed, and periodic images are
    not seen.

    For dynamics the energy must be smooth: train with T(3) or SE(3),
    :obj:`envelope=True` and without batch norm. Those of SO(3) jump where an atom
    passes the centre, and those of :obj:`lift="frames"` where principal axes cease to
    be unique, as in linear molecules: forces are not their derivatives there.

    Args:
        model (path or MoleculeModule): A checkpoint (see :func:`lieconv_pyg.load`) or
            a trained model; of a model a copy is taken, which later training does
            not change.
        device (str or torch.device, optional): Where to compute.
            (default: :obj:`"cpu"`)
        dtype (torch.dtype, optional): :obj:`torch.float64` computes in double
            precision. (default: that of the model)
        as_energy (bool, optional): Takes any target in a unit of energy for the
            potential energy, whatever its name. (default: :obj:`False`)

    Raises:
        ValueError: If the target of the model is neither a potential energy nor a
            dipole vector. On use, for elements that the model was not built for.
        FileNotFoundError: If there is no such checkpoint.
    """

    name = "lieconv"
    implemented_properties: list[str] = []  # noqa: RUF012, as in ASE

    def __init__(
        self,
        model: str | os.PathLike | torch.nn.Module,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        as_energy: bool = False,
    ) -> None:
        super().__init__()
        self._model: Any = _own(model, device, dtype)
        self._device = torch.device(device)
        self.target: Target = _target(self._model)
        if is_potential(self.target, as_energy):
            self.implemented_properties = ["energy", "free_energy", "forces"]
            self._factor = energy_factor(self.target.unit)
        elif is_dipole(self.target) and not as_energy:
            self.implemented_properties = ["dipole"]
            self._factor = dipole_factor(self.target.unit)
        else:
            raise ValueError(_refusal(self.target, as_energy))
        self._pos_dtype = _pos_dtype(getattr(self._model, "network", self._model))
        self._warned = False

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Computes what ASE asks for.

        Raises:
            ValueError: For no atoms, or elements that the model was not built for.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if system_changes:
            self.results = {}
        self._check(atoms)
        z = torch.from_numpy(atoms.numbers).to(self._device, torch.long)
        pos = torch.from_numpy(atoms.positions).to(self._device, self._pos_dtype)
        batch = torch.zeros_like(z)
        if "forces" not in properties:
            with torch.no_grad():
                out = self._model(z, pos, batch)
        else:
            with torch.enable_grad():
                out = self._model(z, pos.requires_grad_(), batch)
                self.results["forces"] = _forces(out, pos) * self._factor
        values = out.detach()[0].cpu().double() * self._factor
        if self.target.num_components == 3:
            self.results["dipole"] = values.numpy()
        else:
            self.results["energy"] = self.results["free_energy"] = values.item()

    def _check(self, atoms: Any) -> None:
        """Elements, and periodic cells."""
        if len(atoms) == 0:
            raise ValueError("the structure has no atoms")
        network = getattr(self._model, "network", None)
        species = getattr(network, "species", range(1, NUM_ELEMENTS))
        known = species.tolist() if isinstance(species, Tensor) else list(species)
        missing = sorted(set(atoms.numbers.tolist()) - set(known))
        if missing:
            raise ValueError(
                f"the model was not built for {_symbols(missing)}; it knows "
                f"{_symbols(known)}. Train one with "
                f"species={sorted({*known, *missing})}"
            )
        if atoms.pbc.any() and not self._warned:
            self._warned = True
            warnings.warn(
                "the structure is periodic: the model does not see its images, energy "
                "and forces are those of an isolated molecule",
                UserWarning,
                stacklevel=2,
            )


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(symbols[z] for z in numbers)


def _own(
    model: str | os.PathLike | torch.nn.Module,
    device: str | torch.device,
    dtype: torch.dtype | None,
) -> torch.nn.Module:
    """A model that nobody else changes, ready to evaluate."""
    module: Any
    if isinstance(model, (str, os.PathLike)):
        module = load_molecules(model)
    elif isinstance(model, torch.nn.Module):
        # Not the trainer, with all its data.
        trainer = getattr(model, "_trainer", None)
        module = copy.deepcopy(model, {} if trainer is None else {id(trainer): None})
    else:
        raise TypeError(
            f"model must be a path or a MoleculeModule, got {type(model).__name__}"
        )
    if dtype == torch.float64:
        module.to(dtype)
    elif dtype is not None:
        # The module's own buffers, such as references, stay in float64.
        getattr(module, "network", module).to(dtype)
    return module.to(device).eval().requires_grad_(False)


def _pos_dtype(network: torch.nn.Module) -> torch.dtype:
    """The dtype of positions. Ours takes float64 in any case: far from the origin no
    digits are lost before the molecule is centred."""
    if isinstance(network, MoleculeLieResNet):
        return torch.float64
    floating = (p.dtype for p in network.parameters() if p.is_floating_point())
    return next(floating, torch.float64)


def _target(module: torch.nn.Module) -> Target:
    target = getattr(module, "target", None)
    if not isinstance(target, Target):
        raise ValueError("the model has no target: train it, or call its set_target")
    return target


def _refusal(target: Target, as_energy: bool) -> str:
    kind = "vector" if target.num_components == 3 else "number"
    why = f"the model predicts {target.label}, a {kind}"
    if is_energy(target):
        return (
            f"{why}, which is not a potential energy by its name: use a model of an "
            "energy such as U0, or as_energy=True if its gradient is a force"
        )
    if as_energy:
        return f"{why}: as_energy needs a number in a unit of energy, such as eV"
    return (
        f"{why}: a calculator needs an energy (in eV, Ha, kcal/mol, ...) or a vector "
        "in a unit of dipoles (e*Ang, D, e*a0)"
    )


def _forces(energy: Tensor, pos: Tensor) -> np.ndarray:
    """Minus the gradient (N, 3); zeros where the energy does not depend on it."""
    grad = torch.zeros_like(pos)
    if energy.requires_grad:
        (grad,) = torch.autograd.grad(energy.sum(), pos, materialize_grads=True)
    return -grad.detach().cpu().double().numpy()
