"""Files of jets: the public top tagging data, as pandas' tables and in NumPy's
format."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lieconv_pyg.datasets.structures import first_line

LABEL = "is_signal_new"
_KEY = "table"
_NAMES = ("E", "PX", "PY", "PZ")
_TOGETHER = 20_000  # jets that are read at once
_ROUNDING = 1e-5  # of E^2, by which a squared mass may be negative in float32
_NPZ_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, TypeError)
_NPZ_ERRORS += (AttributeError, zipfile.BadZipFile, zlib.error)


class JetArrays(NamedTuple):
    r"""Jets without padding.

    Shapes:
        - **pos:** momenta :math:`(M, 4)` in GeV of all constituents, in float32
        - **counts:** how many each jet has, :math:`(N)`
        - **y:** classes :math:`(N)`
    """

    pos: Tensor
    counts: Tensor
    y: Tensor


def read_jet_table(
    path: Path, limit: int | None = None, max_constituents: int | None = None
) -> JetArrays:
    r"""Reads a table of jets that pandas wrote to an HDF5 file with the key
    :obj:`table`: columns :obj:`E_0, PX_0, PY_0, PZ_0, E_1, ...` in GeV, with zeros
    where a jet has fewer constituents, and :obj:`is_signal_new`.

    Args:
        path (path): The file.
        limit (int, optional): Reads the first so many jets.
        max_constituents (int, optional): Reads the first so many constituents.

    Raises:
        ImportError: If pandas or PyTables is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such table, damaged, or has jets that cannot be.
    """
    pandas = _pandas()
    path = _existing(path)
    try:
        store = pandas.HDFStore(path, mode="r")
    except Exception as error:  # PyTables has its own kinds
        raise _damaged(path, error) from error
    with store:
        if f"/{_KEY}" not in store.keys():  # noqa: SIM118  it is no dict
            raise ValueError(f"{path} has the keys {store.keys()}, not '{_KEY}'")
        chunks = _chunks(store, path, limit)
        parts = [_of_frame(path, *chunk, max_constituents) for chunk in chunks]
    if not parts:
        raise ValueError(f"{path} has no jets")
    return JetArrays(*(torch.cat(part) for part in zip(*parts, strict=True)))


def read_jet_arrays(
    path: Path,
    split: str,
    limit: int | None = None,
    max_constituents: int | None = None,
) -> JetArrays:
    r"""Reads jets of a NumPy file with the arrays :obj:`kinematics_train`,
    :math:`(N, n, 4)` in GeV with zeros where a jet has fewer constituents, and
    :obj:`labels_train` :math:`(N)`, and the same for :obj:`val` and :obj:`test`.

    Args:
        path (path): The file.
        split (str): Which of them.
        limit (int, optional): Keeps the first so many jets.
        max_constituents (int, optional): Keeps the first so many constituents.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, damaged, or has jets that cannot be.
    """
    path = _existing(path)
    names = f"kinematics_{split}", f"labels_{split}"
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            there = list(file)
            arrays = [file[name] for name in names if name in there]
    except _NPZ_ERRORS as error:
        raise _damaged(path, error) from error
    if len(arrays) < 2:
        raise ValueError(f"{path} has the arrays {there}, not {' and '.join(names)}")
    p, y = arrays
    if p.ndim != 3 or p.shape[2] != 4 or y.shape != p.shape[:1]:
        raise ValueError(
            f"{path} must have {names[0]} of shape (N, n, 4) and {names[1]} of shape "
            f"(N), got {p.shape} and {y.shape}"
        )
    if not len(y):
        raise ValueError(f"{path} has no jets in {names[0]}")
    rows = range(0, len(y) if limit is None else min(limit, len(y)), _TOGETHER)
    parts = []
    for start in rows:
        own = slice(start, min(start + _TOGETHER, limit or len(y)))
        parts.append(_without_padding(p[own, :max_constituents], y[own], path, start))
    return JetArrays(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _pandas() -> Any:
    try:
        import_module("tables")  # with which pandas reads HDF5
        return import_module("pandas")
    except ImportError as error:
        raise ImportError(
            "jets in HDF5 files are read by pandas and PyTables, which are not "
            'installed: pip install "lieconv_pyg[jets]"'
        ) from error


def _existing(path: Path) -> Path:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"jets: there is no file {path}")
    return path


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is cut off, damaged or no such file: {error_line(error)}"
    )


def error_line(error: Exception) -> str:
    """The last line of what a library says: PyTables begins with a back trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else first_line(error)


def _chunks(store: Any, path: Path, limit: int | None) -> Iterator[tuple[int, Any]]:
    """First row and rows, of so many as are read at once."""
    try:
        storer = store.get_storer(_KEY)
        whole = None if storer.is_table else store.get(_KEY)
        number = storer.nrows if whole is None else len(whole)
        number = number if limit is None else min(limit, number)
        for start in range(0, number, _TOGETHER):
            stop = min(start + _TOGETHER, number)
            if whole is None:
                yield start, store.select(_KEY, start=start, stop=stop)
            else:
                yield start, whole.iloc[start:stop]
    except Exception as error:
        raise _damaged(path, error) from error


def _of_frame(
    path: Path, start: int, frame: Any, max_constituents: int | None
) -> JetArrays:
    """Jets of some rows of a table."""
    there = set(frame.columns)
    number = sum(name.startswith("E_") for name in map(str, frame.columns))
    wanted = [f"{name}_{i}" for i in range(max(number, 1)) for name in _NAMES]
    missing = [name for name in (*wanted, LABEL) if name not in there]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing[:5]}: there must be E_i, PX_i, PY_i "
            f"and PZ_i for each constituent i from 0, and {LABEL}"
        )
    values = frame[wanted].to_numpy().reshape(len(frame), -1, 4)
    labels = frame[LABEL].to_numpy()
    return _without_padding(values[:, :max_constituents], labels, path, start)


def _without_padding(
    p: np.ndarray, labels: np.ndarray, path: Path, start: int
) -> JetArrays:
    """Jets of momenta :math:`(N, n, 4)`, which are checked."""

    def refuse(wrong: Any, what: str) -> None:
        if wrong.any():
            raise ValueError(f"{path}: {what} in jet {start + wrong.argmax()}")

    refuse(~np.isin(labels, (0, 1)), "a label that is neither 0 nor 1")
    refuse(~np.isfinite(p).all((1, 2)), "NaN or infinite momenta")
    p = p.astype(np.float64)
    there = np.any(p, axis=2)
    refuse(~np.any(there, axis=1), "no constituents")
    energy = p[..., 0]
    refuse((energy < 0).any(axis=1), "a negative energy")
    square = energy**2 - (p[..., 1:] ** 2).sum(axis=2)
    floor = -_ROUNDING * energy**2
    refuse((square < floor).any(axis=1), "less energy than momentum (E < |p|)")
    return JetArrays(
        torch.from_numpy(p[there].astype(np.float32)),
        torch.from_numpy(there.sum(axis=1)),
        torch.from_numpy(labels.astype(np.int64)),
    )
