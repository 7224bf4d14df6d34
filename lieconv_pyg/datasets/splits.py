"""Which molecules train, validate and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: Molecules of PyG's QM9 and of its published parts (train, validation, test).
QM9_SIZE = 130_831
QM9_PARTS = (100_000, 17_748, 13_083)


def qm9_split(
    num_molecules: int = QM9_SIZE, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The split of the published QM9 experiments.

    The numbers :math:`0 \ldots 130830` are permuted by
    :class:`numpy.random.RandomState` with seed 0; the first 100,000 train, the
    next 17,748 validate, the last 13,083 test. For any other number of
    molecules the permutation is drawn by the same generator and the
    parts have the same proportions.

    Args:
        num_molecules (int, optional): Size of the dataset.
            (default: :obj:`130831`)
        seed (int, optional): Seed of the permutation. (default: :obj:`0`)

    Returns:
        The numbers of the training, validation and test molecules.

    Raises:
        ValueError: If a part would be empty.
    """
    return random_split(num_molecules, [n / QM9_SIZE for n in QM9_PARTS], seed)


def random_split(
    num_molecules: int, fractions: Sequence[float], seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Splits at random in given proportions.

    Args:
        num_molecules (int): Size of the dataset.
        fractions (sequence of float): Shares of training, validation and test;
            they sum to 1.
        seed (int, optional): Seed of the permutation. (default: :obj:`0`)

    Raises:
        ValueError: If the shares are not three positive numbers that sum to 1,
            or if a part would be empty.
    """
    if (
        len(fractions) != 3
        or min(fractions) <= 0
        or not np.isclose(sum(fractions), 1.0, atol=1e-6)
    ):
        raise ValueError(
            "fractions must be three positive shares (training, validation, test) "
            f"that sum to 1, got {list(fractions)}"
        )
    train = round(num_molecules * fractions[0])
    valid = round(num_molecules * fractions[1])
    sizes = (train, valid, num_molecules - train - valid)
    if min(sizes) < 1:
        raise ValueError(
            f"{num_molecules} molecules are too few to split: training, validation "
            f"and test would have {sizes[0]}, {sizes[1]} and {sizes[2]}; use more"
        )
    order = torch.from_numpy(np.random.RandomState(seed).permutation(num_molecules))
    first, second, third = order.split(sizes)
    return first, second, third


def limit_split(
    parts: Sequence[Tensor], limit: int | Sequence[int] | None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Keeps the first molecules of each part.

    A molecule never changes its part by this: what tests in a limited run
    tests in the whole one.

    Args:
        parts (sequence of Tensor): Training, validation and test numbers.
        limit (int or three ints, optional): The number of molecules in all,
            shared out in the proportions of the parts, or the number of each.
            :obj:`None` keeps all.

    Raises:
        ValueError: If a part would be empty, or is asked for more than it has.
    """
    have = [len(part) for part in parts]
    if limit is None:
        wanted = have
    elif isinstance(limit, int):
        if not 3 <= limit <= sum(have):
            raise ValueError(
                f"limit must be from 3 to the {sum(have)} molecules there are, "
                f"got {limit}"
            )
        valid, test = (max(1, round(limit * n / sum(have))) for n in have[1:])
        wanted = [min(limit - valid - test, have[0]), valid, test]
    elif len(limit) != 3:
        raise ValueError(
            "limit must be one number, or three (training, validation, test), "
            f"got {list(limit)}"
        )
    else:
        wanted = list(limit)
        names = ("training", "validation", "test")
        for name, want, there in zip(names, wanted, have, strict=True):
            if not 1 <= want <= there:
                raise ValueError(
                    f"limit asks for {want} {name} molecules; it must be from 1 to "
                    f"the {there} there are"
                )
    first, second, third = (part[:n] for part, n in zip(parts, wanted, strict=True))
    return first, second, third
