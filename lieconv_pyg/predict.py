r"""``lieconv predict``: a trained model on the structures of a file.

.. code-block:: console

    lieconv predict --ckpt_path RUN/checkpoints/best.ckpt --data molecules.extxyz
    lieconv predict --ckpt_path X --data FILE --output predicted.extxyz
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader
from tqdm import tqdm  # type: ignore[import-untyped]

from lieconv_pyg.checkpoints import load_molecules
from lieconv_pyg.datasets import (
    Target,
    read_structures,
    structures_data,
    write_structures,
)
from lieconv_pyg.datasets.units import is_potential
from lieconv_pyg.training import MoleculeModule
from lieconv_pyg.training.molecule_module import check_species
from lieconv_pyg.training.results import write_csv


@dataclass(frozen=True)
class Predicted:
    r"""Predictions for structures.

    Args:
        names (list of str): The structures.
        target (Target): What was predicted.
        values (Tensor): (M), or (M, 3) for a vector, in :obj:`target.unit`, float64.
        forces (list of Tensor, optional): (N, 3) for each structure, in
            :obj:`target.unit` per Ångström, float64.
    """

    names: list[str]
    target: Target
    values: Tensor
    forces: list[Tensor] | None = None


def predict(
    ckpt_path: str,
    data: str,
    output: str | None = None,
    index: str = ":",
    format: str | None = None,
    output_format: str | None = None,
    forces: bool | None = None,
    batch_size: int = 64,
    device: str = "auto",
    overwrite: bool = False,
    trust: list[str] | str | None = None,
) -> list[Path]:
    r"""Predicts the target of a trained model for the structures of a file.

    The values go into a CSV file, with units. If the output is named otherwise
    (``.extxyz``, ``.traj``, ``.db``, …), the structures are written there with
    their values in that format, and the CSV file beside it.

    Args:
        ckpt_path: The checkpoint of a run. Nothing else of the run is needed.
        data: A file with structures in any of ASE's formats.
        output: The file to write. By default the name of the data with the
            target's, as CSV, in the current folder.
        index: Which structures, as ASE has it: ':', '-1', '10:20'.
        format: ASE's name of the data's format. By default it is recognised.
        output_format: ASE's name of the output's format. By default by its name.
        forces: Whether to predict forces as well, the negative gradient. By default
            if the model was trained on them and the output is no CSV file.
        batch_size: Structures in a batch.
        device: cpu, cuda, cuda:1, ... By default a GPU where there is one.
        overwrite: Whether output that exists may be replaced.
        trust: Packages of yours whose classes the checkpoint's configuration names.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: If the checkpoint or the data do not exist.
        FileExistsError: If the output does.
        ValueError: If they cannot be read, the data have elements that the model
            was not built for, or forces are asked for in a CSV file.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    trust = [trust] if isinstance(trust, str) else trust
    model = load_molecules(ckpt_path, _usable(device), trust or ())
    if model.target is None:
        raise ValueError(f"{ckpt_path} does not say what its model predicts")
    path = Path(output or f"{Path(data).stem}_{model.target.name}.csv")
    table = path.with_suffix(".csv")
    for file in {path, table}:
        if file.exists() and not overwrite:
            raise FileExistsError(
                f"output: {file} exists; name another, or set overwrite to true"
            )
        if not file.parent.is_dir():
            raise FileNotFoundError(f"output: there is no folder {file.parent}")
    if path == table:
        if forces:
            raise ValueError(
                "forces: a CSV file has no place for them; name another output, such "
                f"as {path.with_suffix('.extxyz')}"
            )
        forces = False
    atoms = read_structures(data, index, format)
    found = predict_structures(model, atoms, forces, batch_size)
    name, unit = found.target.name, found.target.unit
    if path == table:
        write_csv(table, found.names, {name: found.values}, unit)
        return [table]
    results: dict[str, Any] = {name: found.values}
    units = {name: unit}
    if found.forces is not None:
        results["forces"] = found.forces
        units["forces"] = f"{unit}/Ang"
    kept = write_structures(path, atoms, results, output_format, units, overwrite)
    write_csv(table, found.names, {name: found.values}, unit)
    if not kept:
        note = f"{path}: its format does not hold the values, which are in {table}"
        print(note, file=sys.stderr)
    return [path, table]


def _usable(device: str) -> torch.device:
    """The device, if this machine has it."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used ({reason})") from error


def predict_structures(
    model: MoleculeModule,
    atoms: Sequence[Any],
    forces: bool | None = None,
    batch_size: int = 64,
) -> Predicted:
    r"""Predictions of a model for structures.

    Args:
        model (MoleculeModule): The model, see :func:`lieconv_pyg.load`.
        atoms (sequence of ase.Atoms): The structures.
        forces (bool, optional): Whether to predict forces. (default: whether the
            model was trained on forces)
        batch_size (int, optional): Structures in a batch. (default: :obj:`64`)

    Raises:
        ValueError: If the model was not built for an element, or forces are asked of
            a vector.
    """
    target = model.target
    if target is None:
        raise ValueError("the model has no target: train it, or call its set_target")
    if forces is None:
        forces = model.force_weight is not None
    if forces and not (model.force_weight or is_potential(target)):
        raise ValueError(f"forces: {target.label} is not a potential energy")
    data = structures_data(atoms)
    check_species(model.network, sorted({int(z) for a in atoms for z in a.numbers}))
    model = model.eval()
    values, parts = [], []
    loader = DataLoader(data, batch_size)
    for batch in tqdm(loader, "predicting", unit="batch", disable=len(loader) < 2):
        batch = batch.to(model.device)
        with torch.set_grad_enabled(forces):
            pos = batch.pos.requires_grad_(forces)
            out = model(batch.z, pos, batch.batch)
            if forces:
                grad = model.forces(out, pos).to(torch.float64)
                parts += grad.cpu().split(batch.ptr.diff().tolist())
        values.append(out.detach().cpu())
    names = [one.name for one in data]
    return Predicted(names, target, torch.cat(values), parts if forces else None)
