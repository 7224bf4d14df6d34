"""Scale and offset of a target, taken from the training molecules alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.targets import NUM_ELEMENTS


@dataclass(frozen=True)
class Statistics:
    r"""What normalises a target: :math:`(y - \sum_a e(z_a) - m)/s`.

    Args:
        median (float): :math:`m`, the median of the values with the
            references subtracted; 0 for a vector.
        mad (float): :math:`s`, the median absolute deviation from it; of a vector
            that of its components.
        mean (Tensor): Mean of the values, references included: the mean
            predictor. A float64 tensor of shape (), or (3) for a vector.
        references (Tensor): :math:`e`, the reference value of each element
            (119), float64; zeros where there are none.
        kind (str): Where the references come from: :obj:`"none"`,
            :obj:`"dataset"` or :obj:`"fit"`.
        force_scale (float, optional): Mean absolute component of the forces.
            :obj:`None` where there are no forces, or only zeros.
    """

    median: float
    mad: float
    mean: Tensor
    references: Tensor
    kind: str
    force_scale: float | None = None


def fit_references(molecules: Molecules) -> Tensor:
    r"""Least-squares value of each element, so that their sum over a molecule's
    atoms is nearest to its target.

    Elements that do not occur get 0; where the composition leaves the values
    undetermined, the smallest ones are taken.

    Returns:
        A float64 tensor of shape (119), by atomic number.
    """
    composition = molecules.composition()
    elements = torch.tensor(molecules.elements(), dtype=torch.long)
    solution = torch.linalg.lstsq(
        composition[:, elements], molecules.y.view(-1, 1), driver="gelsd"
    ).solution
    references = torch.zeros(NUM_ELEMENTS, dtype=torch.float64)
    references[elements] = solution.view(-1)
    return references


def choose_references(molecules: Molecules, references: str = "auto") -> str:
    r"""Decides which references a run uses.

    Args:
        molecules (Molecules): The training molecules.
        references (str, optional): :obj:`"fit"` fits a value for each element to the
            training molecules, :obj:`"dataset"` takes the dataset's own convention
            (QM9: energies of single atoms for U0, U, H, G and Cv), as published
            figures have it, :obj:`"none"` none. :obj:`"auto"` fits them if the
            target is extensive, and takes none otherwise: what single-atom energies
            leave of a total energy still grows with the molecule, about a value that
            does not, which no sum over atoms has. (default: :obj:`"auto"`)

    Returns:
        :obj:`"none"`, :obj:`"dataset"` or :obj:`"fit"`.

    Raises:
        ValueError: If :obj:`references` is none of the four, :obj:`"fit"` for a
            vector, or :obj:`"dataset"` where the dataset has none.
    """
    if references not in {"auto", "fit", "dataset", "none"}:
        raise ValueError(
            f"references must be 'auto', 'fit', 'dataset' or 'none', got {references!r}"
        )
    target = molecules.target
    if target.num_components > 1:
        if references == "fit":
            raise ValueError(
                f"{target.name} is a vector, which turns with the molecule: an element "
                "has no reference for it. Set references to 'auto' or 'none'"
            )
        return "none"
    if references == "auto":
        return "fit" if target.extensive else "none"
    if references == "dataset" and molecules.references is None:
        raise ValueError(
            f"{molecules.source or 'the dataset'} has no references of its own: set "
            "references to 'auto', 'fit' or 'none'"
        )
    return references


def target_statistics(molecules: Molecules, references: str = "auto") -> Statistics:
    r"""Median, median absolute deviation and references of a target.

    A vector is scaled only, by the median size of its components: a shift would not
    turn with the molecule.

    Args:
        molecules (Molecules): The training molecules.
        references (str, optional): See :func:`choose_references`.
            (default: :obj:`"auto"`)

    Raises:
        ValueError: If the target has the same value for every molecule.
    """
    kind = choose_references(molecules, references)
    values = torch.zeros(NUM_ELEMENTS, dtype=torch.float64)
    if kind == "fit":
        values = fit_references(molecules)
    elif kind == "dataset" and molecules.references is not None:
        values = molecules.references.to(torch.float64)
    rest, median = molecules.y, 0.0
    if molecules.target.num_components == 1:
        rest = rest - molecules.composition() @ values
        median = float(rest.median())
    forces = molecules.forces
    force_scale = 0.0 if forces is None else float(forces.abs().mean())
    return Statistics(
        median,
        _scale((rest - median).abs(), molecules),
        molecules.y.mean(0),
        values,
        kind,
        force_scale or None,
    )


def _scale(deviation: Tensor, molecules: Molecules) -> float:
    """The median of absolute deviations, or their mean if that says more."""
    scale = deviation.median()
    if not scale > 1e-9 * deviation.max():  # more than half of them are equal
        scale = deviation.mean()
    if 0 < scale < 1e-12 * molecules.y.abs().max():
        raise ValueError(
            f"the references of the elements give {molecules.target.name} of all "
            f"{len(molecules)} training molecules but for rounding: there is nothing "
            "left to learn; take more molecules, or references 'none'"
        )
    if not scale > 0:
        raise ValueError(
            f"{molecules.target.name} has the same value for all {len(molecules)} "
            "training molecules: there is nothing to learn"
        )
    return float(scale)
