"""PyG's QM9: finding it, reading it, and its conventions."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.targets import NUM_ELEMENTS, QM9Target, qm9_target

#: Names the folder that holds QM9, for those who do not pass :obj:`root`.
ROOT_VARIABLE = "LIECONV_QM9_ROOT"

_RAW, _PROCESSED = Path("raw", "qm9_v3.pt"), Path("processed", "data_v3.pt")

#: Heat capacity of a free atom, 3/2 R, the same for every element: QM9's table of
#: single-atom values has it, PyG's has zeros. In cal/(mol K).
_ATOM_CV = 2.981
_QM9_ELEMENTS = (1, 6, 7, 8, 9)


def qm9_root(root: str | os.PathLike | None = None) -> Path:
    r"""The folder of QM9: :obj:`root`, else the environment variable
    :obj:`LIECONV_QM9_ROOT`, else :obj:`data/QM9`."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "data/QM9").expanduser()


def qm9_on_disk(root: str | os.PathLike | None = None) -> bool:
    """Whether QM9 can be read from :func:`qm9_root` without a download."""
    folder = qm9_root(root)
    return (folder / _RAW).is_file() or (folder / _PROCESSED).is_file()


def qm9_references(target: str | QM9Target) -> Tensor:
    r"""Single-atom value of each element, in the target's published unit.

    Energies are PyG's; the heat capacity is that of a free atom; zero-point
    energies of atoms, and all values of targets without references, are 0.

    Args:
        target (str or QM9Target): The target.

    Returns:
        A float64 tensor of shape (119), by atomic number.
    """
    from torch_geometric.datasets.qm9 import atomrefs

    target = qm9_target(target) if isinstance(target, str) else target
    references = torch.zeros(NUM_ELEMENTS, dtype=torch.float64)
    if target.referenced:
        values = atomrefs.get(target.column, [0.0] * len(_QM9_ELEMENTS))
        if target.name == "Cv":
            values = [_ATOM_CV] * len(_QM9_ELEMENTS)
        for element, value in zip(_QM9_ELEMENTS, values, strict=True):
            references[element] = value * target.factor
    return references


def load_qm9(
    target: str, root: str | os.PathLike | None = None, download: bool = False
) -> Molecules:
    r"""Reads one target of :class:`torch_geometric.datasets.QM9`.

    Values are in the units of the published errors (meV where PyG has eV).
    Total energies are put together from PyG's atomisation energies and the
    single-atom references, as float32 holds them to half an meV only.

    Args:
        target (str): Name of the target, see
            :data:`~lieconv_pyg.datasets.QM9_TARGETS`.
        root (path, optional): Folder with :obj:`raw/qm9_v3.pt` or
            :obj:`processed/data_v3.pt`, see :func:`qm9_root`.
        download (bool, optional): Whether to fetch it where it is absent.
            (default: :obj:`False`)

    Raises:
        ValueError: If the target does not exist.
        FileNotFoundError: If QM9 is not in the folder and is not to be
            downloaded, or cannot be.
    """
    chosen = qm9_target(target)
    folder = qm9_root(root)
    if not (download or qm9_on_disk(folder)):
        raise FileNotFoundError(
            f"QM9 is not in {folder} (neither {_RAW} nor {_PROCESSED}): name its "
            f"folder by root or {ROOT_VARIABLE}, or set download to fetch it"
        )
    with _one_at_a_time(folder):
        if not qm9_on_disk(folder):
            _download(folder)
        dataset = _open(folder)
    data, slices = dataset._data, dataset.slices
    references = qm9_references(chosen)
    num_atoms = slices["z"].diff()
    y = data.y[:, chosen.column].to(torch.float64) * chosen.factor
    if chosen.atomization_column is not None and data.y.size(1) > 15:
        molecule = torch.arange(len(y)).repeat_interleave(num_atoms)
        atoms = torch.zeros_like(y).index_add_(0, molecule, references[data.z])
        y = data.y[:, chosen.atomization_column].to(torch.float64) * chosen.factor
        y = y + atoms
    return Molecules(
        data.z,
        data.pos,
        num_atoms,
        y,
        list(data.name),
        chosen,
        references,
        source=f"QM9 in {folder}",
    )


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets other processes wait while one fetches or prepares the files."""
    if (folder / _PROCESSED).is_file():
        yield
        return
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    try:
        with FileLock(lock):
            yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
            if created:
                folder.rmdir()  # if nothing else came in


def _open(folder: Path) -> Any:
    """PyG's dataset, without the messages that nobody can act on."""
    from torch_geometric.datasets import QM9

    first = not (folder / _PROCESSED).is_file()
    if first:
        print(f"Reading {folder / _RAW} for the first time", file=sys.stderr)
    try:
        # PyG reads the prepared file only where rdkit is not installed.
        with _without("rdkit"), contextlib.redirect_stderr(io.StringIO()):
            return QM9(str(folder))
    except Exception as error:
        if first:
            shutil.rmtree(folder / "processed", ignore_errors=True)
        raise ValueError(
            f"QM9 in {folder} cannot be read ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no details'}): "
            "remove the folder, or name another by root"
        ) from error


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Lets :obj:`import module` fail inside the block."""
    missing = object()
    before = sys.modules.get(module, missing)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is missing:
            del sys.modules[module]
        else:
            sys.modules[module] = before  # type: ignore[assignment]


def _download(folder: Path, timeout: float = 10.0) -> None:
    """Fetches PyG's prepared file; leaves nothing behind where it cannot."""
    from torch_geometric.data import download_url, extract_zip
    from torch_geometric.datasets import QM9

    try:
        # Without this look, a blocked network would be waited for without end.
        with urllib.request.urlopen(QM9.processed_url, timeout=timeout):
            pass
        path = download_url(QM9.processed_url, str(folder / "raw"))
        extract_zip(path, str(folder / "raw"))
        os.unlink(path)
    except (OSError, urllib.error.URLError) as error:
        shutil.rmtree(folder / "raw", ignore_errors=True)
        raise FileNotFoundError(
            f"QM9 is not in {folder} and {QM9.processed_url} cannot be reached "
            f"({error}): name the folder that has it by root or {ROOT_VARIABLE}, or "
            "train on dataset 'g2', which needs no download"
        ) from error
