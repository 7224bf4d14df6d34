"""QM9 in the layout that PyG reads: small made-up ones, and the real sample."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from ase.collections import g2

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """The folder of the real data; skips where there is none."""
    folder = Path(os.environ.get("LIECONV_DATA", ROOT / ".." / "shared" / "data"))
    if not (folder / "qm9_15k.npz").is_file():
        pytest.skip(
            "no real data: LIECONV_DATA does not name a folder with qm9_15k.npz"
        )
    return folder.resolve()


def real_qm9(folder: Path, limit: int) -> Path:
    """The first molecules of the real sample, laid out in ``folder``."""
    script = data_folder() / "make_qm9_root.py"
    command = [sys.executable, str(script), str(folder), "--limit", str(limit)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def made_up_qm9(folder: Path, num: int = 40) -> Path:
    """Molecules of H, C, N, O, F with random targets, as PyG's raw file has them."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    names = [n for n in g2.names if set(molecule(n).numbers) <= {1, 6, 7, 8, 9}]
    for index, name in enumerate(names[:num]):
        atoms = molecule(name)
        y = torch.randn(1, 19, generator=generator)
        rows.append(
            {
                "x": torch.zeros(len(atoms), 11),
                "z": torch.from_numpy(atoms.numbers),
                "pos": torch.from_numpy(atoms.positions).float(),
                "edge_index": torch.zeros(2, 0, dtype=torch.long),
                "edge_attr": torch.zeros(0, 4),
                "y": y,
                "name": name,
                "smiles": "",
                "idx": index,
            }
        )
    (folder / "raw").mkdir(parents=True)
    torch.save(rows, folder / "raw" / "qm9_v3.pt")
    return folder
