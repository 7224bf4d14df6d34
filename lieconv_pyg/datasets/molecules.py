"""Molecules with one target, as a map-style dataset of PyG :obj:`Data`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from lieconv_pyg.datasets.targets import NUM_ELEMENTS, Target


class Molecules(Dataset[Data]):
    r"""Molecules, the value of one target for each, and forces where there are any.

    Atoms are stored in flat tensors; :obj:`molecules[i]` is a
    :class:`~torch_geometric.data.Data` with :obj:`z` (N,), :obj:`pos` (N, 3) in
    Ångström, :obj:`y` (1, 1) in :obj:`target.unit`, or (1, 3) for a vector,
    :obj:`name` and, where they are known, :obj:`forces` (N, 3) in
    :obj:`target.unit` per Ångström. Values and forces are kept in float64, because
    total energies need more digits than float32 has.

    Args:
        z (Tensor): Atomic numbers of all molecules, one after the other.
        pos (Tensor): Positions in Ångström.
        num_atoms (Tensor): Number of atoms of each molecule.
        y (Tensor): Value of the target of each molecule.
        names (sequence of str): Name of each molecule.
        target (Target): What :obj:`y` is.
        references (Tensor, optional): The dataset's own reference value of each
            element, in the unit of :obj:`y`; zeros if its convention has none.
            :obj:`None` if it has no convention. (default: :obj:`None`)
        source (str, optional): Where they come from, for messages.
        forces (Tensor, optional): Minus the derivatives of :obj:`y` by
            :obj:`pos`, in :obj:`target.unit` per Ångström.
            (default: :obj:`None`)

    Shapes:
        - **z:** :math:`(\sum_m N_m)`, **pos** and **forces:** :math:`(\sum_m N_m, 3)`
        - **num_atoms:** :math:`(M)`
        - **y:** :math:`(M)`, for a vector :math:`(M, 3)`
        - **references:** (119), by atomic number

    Raises:
        ValueError: If sizes do not fit together, a molecule has no atoms, an
            atomic number is unknown, a position, value or force is not finite, or
            a vector has references or forces.
    """

    def __init__(
        self,
        z: Tensor,
        pos: Tensor,
        num_atoms: Tensor,
        y: Tensor,
        names: Sequence[str],
        target: Target,
        references: Tensor | None = None,
        source: str = "",
        forces: Tensor | None = None,
    ) -> None:
        self.z = z.to(torch.long)
        self.pos = pos.to(torch.get_default_dtype())
        self.num_atoms = num_atoms.to(torch.long)
        self.y = y.to(torch.float64)
        self.names = list(names)
        self.target = target
        self.references = references
        self.source = source
        self.forces = None if forces is None else forces.to(torch.float64)
        self._check()
        ends = self.num_atoms.cumsum(0)
        starts = ends - self.num_atoms
        self._slices = list(zip(starts.tolist(), ends.tolist(), strict=True))

    def _check(self) -> None:
        num = self.num_atoms.numel()
        where = f" in {self.source}" if self.source else ""
        atoms = int(self.num_atoms.sum())
        if self.z.shape != (atoms,) or self.pos.shape != (atoms, 3):
            raise ValueError(
                f"z and pos must have {atoms} rows, the sum of num_atoms{where}; "
                f"got {tuple(self.z.shape)} and {tuple(self.pos.shape)}"
            )
        vector = self.target.num_components == 3
        if self.y.shape != ((num, 3) if vector else (num,)) or len(self.names) != num:
            each = " of 3 components" if vector else ""
            raise ValueError(
                f"y and names must have {num} entries{each}, one a molecule; got "
                f"{tuple(self.y.shape)} and {len(self.names)}"
            )
        if self.forces is not None and self.forces.shape != (atoms, 3):
            raise ValueError(
                f"forces{where} must be of shape {(atoms, 3)}, as pos; got "
                f"{tuple(self.forces.shape)}"
            )
        if vector and not (self.references is None and self.forces is None):
            raise ValueError(
                f"{self.target.name} is a vector: it has neither references nor forces"
            )
        if bool((self.num_atoms < 1).any()):
            raise ValueError(f"a molecule{where} has no atoms: leave it out")
        if atoms and not 1 <= int(self.z.min()) <= int(self.z.max()) < NUM_ELEMENTS:
            raise ValueError(f"z{where} must hold atomic numbers from 1 to 118")
        molecule = torch.arange(num).repeat_interleave(self.num_atoms)
        self._check_finite(self.pos, molecule, f"a position{where} is")
        self._check_finite(
            self.y.view(num, -1), torch.arange(num), f"{self.target.name}{where} is"
        )
        if self.forces is not None:
            self._check_finite(self.forces, molecule, f"a force{where} is")

    def _check_finite(self, values: Tensor, molecule: Tensor, what: str) -> None:
        """Names the first molecule of which a row is not finite."""
        bad = molecule[~values.isfinite().all(1)].unique().tolist()
        if bad:
            raise ValueError(
                f"{what} NaN or infinite for {len(bad)} molecules, the first of them "
                f"{self.names[bad[0]]!r}: leave them out"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Data:
        start, end = self._slices[index]
        data = Data(
            z=self.z[start:end],
            pos=self.pos[start:end],
            y=self.y[index].view(1, -1),
            name=self.names[index],
        )
        if self.forces is not None:
            data.forces = self.forces[start:end]
        return data

    def __iter__(self) -> Iterator[Data]:
        return (self[i] for i in range(len(self)))

    def select(self, index: Sequence[int] | Tensor) -> Molecules:
        """Returns the molecules of the given numbers, in that order."""
        chosen = torch.as_tensor(index, dtype=torch.long).tolist()
        spans = [torch.arange(*self._slices[i]) for i in chosen]
        atoms = torch.cat(spans) if spans else torch.empty(0, dtype=torch.long)
        rows = torch.tensor(chosen, dtype=torch.long)
        return Molecules(
            self.z[atoms],
            self.pos[atoms],
            self.num_atoms[rows],
            self.y[rows],
            [self.names[i] for i in chosen],
            self.target,
            self.references,
            self.source,
            None if self.forces is None else self.forces[atoms],
        )

    def fingerprint(self) -> str:
        """A digest of atoms, positions and targets: what differs in any of them has
        another."""
        digest = hashlib.sha256()
        for values in (self.num_atoms, self.z, self.pos, self.y):
            digest.update(values.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def composition(self) -> Tensor:
        r"""Number of atoms of each element: (M, 119), float64."""
        molecule = torch.arange(len(self)).repeat_interleave(self.num_atoms)
        count = torch.zeros(len(self), NUM_ELEMENTS, dtype=torch.float64)
        one = torch.ones(1, dtype=torch.float64).expand(len(self.z))
        return count.index_put_((molecule, self.z), one, accumulate=True)

    def elements(self) -> list[int]:
        """Atomic numbers that occur, in order."""
        return torch.unique(self.z).tolist()

    def __repr__(self) -> str:
        more = "" if self.forces is None else ", with forces"
        return f"{type(self).__name__}({len(self)}, {self.target.label}{more})"
