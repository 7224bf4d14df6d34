"""One call for all datasets."""

from __future__ import annotations

import os

from lieconv_pyg.datasets.ase_file import load_ase_file
from lieconv_pyg.datasets.g2 import load_g2
from lieconv_pyg.datasets.md_file import load_md_file
from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.qm9 import load_qm9


def load_molecules(
    dataset: str,
    target: str,
    root: str | os.PathLike | None = None,
    unit: str | None = None,
    extensive: bool | None = None,
    download: bool = False,
) -> Molecules:
    r"""Reads one target of a dataset.

    Args:
        dataset (str): :obj:`"qm9"` (:func:`load_qm9`), :obj:`"g2"`
            (:func:`load_g2`), the path of a :obj:`.npz` file of molecular dynamics
            (:func:`load_md_file`), or of a file that ASE reads
            (:func:`load_ase_file`).
        target (str): Name of the target.
        root (path, optional): The folder of QM9.
        unit (str, optional): The unit of a file's target.
        extensive (bool, optional): Whether a file's target grows with the
            number of atoms.
        download (bool, optional): Whether to fetch QM9 where it is absent.

    Raises:
        ValueError: If an argument does not go with the dataset, or as the
            function above says.
    """
    name = str(dataset).lower()
    if name in {"qm9", "g2"}:
        given: dict[str, object] = {"unit": unit, "extensive": extensive}
        if name == "g2":
            given["root"] = root
        for argument, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{argument} does not go with dataset {name!r}: leave it out"
                )
        return load_g2(target) if name == "g2" else load_qm9(target, root, download)
    if root is not None:
        raise ValueError(
            f"root does not go with the file {dataset!r}: dataset is its whole path"
        )
    load = load_md_file if name.endswith(".npz") else load_ase_file
    return load(dataset, target, unit, extensive)
