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
            references subtracted.
        mad (float): :math:`s`, the median absolute deviation from it.
        mean (float): Mean of the values, references included: the mean
            predictor.
        references (Tensor): :math:`e`, the reference value of each element
            (119), float64; zeros where there are none.
        kind (str): Where the references come from: :obj:`"none"`,
            :obj:`"dataset"` or :obj:`"fit"`.
    """

    median: float
    mad: float
    mean: float
    references: Tensor
    kind: str


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
        references (str, optional): :obj:`"auto"` takes the dataset's own
            convention (QM9: single-atom values for zpve, U0, U, H, G and Cv, none for
            the others); for a dataset without one it fits them if the target is
            extensive. :obj:`"fit"` and :obj:`"none"` are as they say.
            (default: :obj:`"auto"`)

    Returns:
        :obj:`"none"`, :obj:`"dataset"` or :obj:`"fit"`.

    Raises:
        ValueError: If :obj:`references` is none of the three.
    """
    if references in {"none", "fit"}:
        return references
    if references != "auto":
        raise ValueError(
            f"references must be 'auto', 'fit' or 'none', got {references!r}"
        )
    if molecules.references is not None:
        return "dataset" if bool(molecules.references.any()) else "none"
    return "fit" if molecules.target.extensive else "none"


def target_statistics(molecules: Molecules, references: str = "auto") -> Statistics:
    r"""Median, median absolute deviation and references of a target.

    Args:
        molecules (Molecules): The training molecules.
        references (str, optional): See :func:`choose_references`.
            (default: :obj:`"auto"`)

    Raises:
        ValueError: If the target has the same value for every molecule.
    """
    kind = choose_references(molecules, references)
    if kind == "fit":
        values = fit_references(molecules)
    elif kind == "dataset" and molecules.references is not None:
        values = molecules.references.to(torch.float64)
    else:
        values = torch.zeros(NUM_ELEMENTS, dtype=torch.float64)
    rest = molecules.y - molecules.composition() @ values
    median = rest.median()
    deviation = (rest - median).abs()
    mad = deviation.median()
    if not mad > 1e-9 * deviation.max():  # more than half of them are equal
        mad = deviation.mean()
    if not mad > 0:
        raise ValueError(
            f"{molecules.target.name} has the same value for all {len(molecules)} "
            "training molecules: there is nothing to learn"
        )
    return Statistics(
        float(median), float(mad), float(molecules.y.mean()), values, kind
    )
