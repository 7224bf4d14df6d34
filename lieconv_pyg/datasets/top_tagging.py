"""The public data set of top tagging."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from lieconv_pyg.datasets.jet_files import JetArrays, read_jet_arrays, read_jet_table
from lieconv_pyg.datasets.jets import Jets, check_number

_FORMAT = 1


class TopTagging(Jets):
    r"""The jets of top quarks, and of light quarks and gluons, of `"The Machine
    Learning Landscape of Top Taggers" <https://arxiv.org/abs/1902.09914>`_ (SciPost
    Physics 2019), simulated for the LHC, with up to 200 constituents each.

    They are read from the published files :obj:`train.h5`, :obj:`val.h5` and
    :obj:`test.h5` in :obj:`root` or :obj:`root/raw` (by pandas and PyTables:
    :obj:`pip install "lieconv_pyg[jets]"`), or from one NumPy file with
    :obj:`kinematics_train`, :obj:`labels_train` and so on. Momenta are in float32, as
    in the files; networks compute in float64 with them. What is read is kept in the
    folder :obj:`processed`.

    Args:
        root (path): The folder of the HDF5 files, or the path of the NumPy file.
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        unit (float, optional): The unit of the momenta, in GeV. (default: :obj:`1.0`)
        max_constituents (int, optional): Keeps the hardest so many of each jet; files
            have the hardest first. (default: all)
        limit (int, optional): Keeps the first so many jets. (default: all)
        transform (callable, optional): Applied to an item when it is taken.
        force_reload (bool, optional): Reads the files anew. (default: :obj:`False`)

    Raises:
        TypeError: If a number is no integer.
        ValueError: If an argument is out of range, or a file is damaged, something
            else, or has jets that cannot be: labels other than 0 and 1, NaN, energies
            that are negative or less than the momentum.
        FileNotFoundError: If the file is missing.
        ImportError: If pandas or PyTables is needed and not installed.
    """

    source = "top tagging"

    def __init__(
        self,
        root: str | os.PathLike,
        split: str = "train",
        unit: float = 1.0,
        max_constituents: int | None = None,
        limit: int | None = None,
        transform: Callable[[Data], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.max_constituents = check_number(max_constituents, "max_constituents")
        self.limit = check_number(limit, "limit")
        given = Path(root).expanduser()
        super().__init__(
            str(given.parent if given.suffix == ".npz" else given),
            *(split, unit, transform),
        )
        self._file = _find(given, split)
        path = Path(self.processed_paths[0])
        if force_reload or not path.is_file():
            self._prepare(path)
        try:
            saved = torch.load(path, weights_only=True)
            self.hold(saved["pos"], saved["counts"], saved["y"])
        except Exception as error:  # pickle, zip and torch raise all kinds
            raise ValueError(
                f"{path} is damaged: remove it, or set 'force_reload'"
            ) from error

    @property
    def processed_file_names(self) -> str:
        """The file of these arguments, and of a raw file of this size and time."""
        state = self._file.stat()
        settings = [_FORMAT, self._file.name, state.st_size, state.st_mtime_ns]
        settings += [self.split, self.max_constituents, self.limit]
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        return f"{self.split}_{digest}.pt"

    def _read(self) -> JetArrays:
        if self._file.suffix == ".npz":
            return read_jet_arrays(
                self._file, self.split, self.limit, self.max_constituents
            )
        return read_jet_table(self._file, self.limit, self.max_constituents)

    # Not PyG's process(), which would write more files, and those not at once.
    def _prepare(self, path: Path) -> None:
        """Reads the jets and writes them, whole or not at all."""
        jets = self._read()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            torch.save(jets._asdict(), part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _find(root: Path, split: str) -> Path:
    """The file of this part."""
    if root.suffix == ".npz":
        places = [root]
    else:
        places = [folder / f"{split}.h5" for folder in (root, root / "raw")]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"TopTagging is not at {places[0]}: put train.h5, val.h5 and test.h5 of "
            "the top tagging reference data set into a folder and give that, or the "
            "path of a NumPy file (.npz) of the same"
        )
    return found
