"""Data sets of trajectories."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, InMemoryDataset
from tqdm import tqdm  # type: ignore[import-untyped]

from lieconv_pyg.dynamics.integrate import METHODS, integrate
from lieconv_pyg.dynamics.system import System
from lieconv_pyg.groups.checks import positive

#: Names of the splits, with the published number of systems.
SPLITS = {"train": 3000, "valid": 200, "test": 2000}

_FORMAT = 2
_TOGETHER = 500  # systems that are integrated in one batch


class Tensors(NamedTuple):
    r"""Trajectories as plain tensors.

    Shapes:
        - **states:** :math:`(S, T, 2 N d)`, all positions and then all momenta
        - **times:** :math:`(S, T)`
        - **params:** :math:`(S, N, F)`
    """

    states: Tensor
    times: Tensor
    params: Tensor


class Trajectories(InMemoryDataset):
    r"""Trajectories of a system, in double precision, by default those of the published
    experiment: 500 states in steps of 0.01, of which each system gives one chunk of 5
    consecutive ones.

    They are computed once, and read from then on: :obj:`root/processed/train.pt`. An
    item has :obj:`x` :math:`(N, F)`, :obj:`pos` and :obj:`momentum`
    :math:`(N, T, d)`, and the times :obj:`t` :math:`(1, T)`. The first :math:`n`
    systems are the same however many there are, to the tolerance: a file of more than
    are asked for serves as well, and one of fewer is replaced.

    Args:
        root (path): Folder of the files.
        system (System): What moves.
        split (str, optional): :obj:`"train"`, :obj:`"valid"` or :obj:`"test"`, which
            have different systems. (default: :obj:`"train"`)
        num_systems (int, optional): Number of systems. (default: 3,000, 200 or 2,000)
        chunk (int, optional): States of an item; :obj:`None` for all.
            (default: :obj:`5`)
        num_chunks (int, optional): Items of each system, drawn from the chunks that its
            trajectory consists of. (default: :obj:`1`)
        num_states (int, optional): States of a trajectory. (default: the system's)
        step (float, optional): Time between states. (default: the system's; the
            authors' code has 5 / 499)
        method (str, optional): As for :func:`~lieconv_pyg.dynamics.integrate`.
            (default: :obj:`"dopri8"`)
        substeps (int, optional): As there. (default: :obj:`1`)
        tol (float, optional): Relative and absolute tolerance. (default: :obj:`1e-9`)
        seed (int, optional): Other numbers, other systems. (default: :obj:`0`)
        progress (bool, optional): Whether to show a bar. (default: :obj:`True`)
        transform (callable, optional): Applied to an item when it is taken.
        force_reload (bool, optional): Computes them anew. (default: :obj:`False`)

    Raises:
        ValueError: If an argument is out of range, or the file there is of other
            settings.
        RuntimeError: If a trajectory cannot be computed.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        system: System,
        split: str = "train",
        num_systems: int | None = None,
        chunk: int | None = 5,
        num_chunks: int = 1,
        num_states: int | None = None,
        step: float | None = None,
        method: str = "dopri8",
        substeps: int = 1,
        tol: float = 1e-9,
        seed: int = 0,
        progress: bool = True,
        transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f"'split' must be one of {', '.join(SPLITS)} (got {split!r})"
            )
        if not isinstance(system, System):
            raise TypeError(
                f"'system' must be a System such as Springs() (got {system})"
            )
        self.system, self.split, self.progress = system, split, progress
        self.settings: dict[str, Any] = system.settings() | {
            "split": split,
            "num_systems": SPLITS[split] if num_systems is None else num_systems,
            "chunk": chunk,
            "num_chunks": num_chunks,
            "num_states": system.num_states if num_states is None else num_states,
            "step": system.step if step is None else step,
            "method": method,
            "substeps": substeps,
            "tol": tol,
            "seed": seed,
            "first_state": first_state(system, seed),
            "format": _FORMAT,
        }
        self._check()
        super().__init__(str(root), transform, force_reload=force_reload, log=False)
        self._read()

    def _check(self) -> None:
        s = self.settings
        for name in ("num_systems", "num_chunks", "num_states", "substeps"):
            positive(s[name], name)
        if not (0 < s["step"] < math.inf and 0 < s["tol"] < math.inf):
            raise ValueError(
                f"'step' and 'tol' must be positive (got {s['step']} and {s['tol']})"
            )
        if s["method"] not in METHODS:
            raise ValueError(
                f"'method' must be one of {', '.join(METHODS)} (got {s['method']!r})"
            )
        if s["num_states"] < 2:
            raise ValueError(f"'num_states' must be at least 2 (got {s['num_states']})")
        if s["chunk"] is None:
            if s["num_chunks"] > 1:
                raise ValueError("'num_chunks' needs a 'chunk'")
            return
        if not 2 <= positive(s["chunk"], "chunk") <= s["num_states"]:
            raise ValueError(
                f"'chunk' must be from 2 to the number of states, {s['num_states']} "
                f"(got {s['chunk']})"
            )
        most = s["num_states"] // s["chunk"]
        if s["num_chunks"] > most:
            raise ValueError(
                f"'num_chunks' must be at most {most}, of which a trajectory consists "
                f"(got {s['num_chunks']})"
            )

    @property
    def processed_file_names(self) -> str:
        """The file of the split."""
        return f"{self.split}.pt"

    def process(self) -> None:
        """Computes the trajectories and writes them, whole or not at all."""
        s = self.settings
        stream = list(SPLITS).index(self.split)
        systems = self.system.sample(s["num_systems"], s["seed"], stream)
        generator = torch.Generator().manual_seed(s["seed"])
        items: list[Data] = []
        bar = tqdm(
            total=len(systems),
            desc=f"{type(self.system).__name__}, {self.split}",
            unit=" systems",
            disable=not self.progress,
        )
        with bar:
            for start in range(0, len(systems), _TOGETHER):
                batch = Batch.from_data_list(systems[start : start + _TOGETHER])
                items += self._trajectories(batch, generator)
                bar.update(batch.num_graphs)
        data, slices = self.collate(items)
        path = Path(self.processed_paths[0])
        part = path.with_suffix(f".{os.getpid()}.part")
        torch.save({"settings": s, "data": data.to_dict(), "slices": slices}, part)
        part.replace(path)

    @torch.no_grad()
    def _trajectories(self, batch: Batch, generator: torch.Generator) -> list[Data]:
        s = self.settings
        t = s["step"] * torch.arange(s["num_states"], dtype=torch.double)
        found = integrate(
            self.system,
            *(batch.x, batch.pos, batch.momentum, t, batch.batch),
            method=s["method"],
            substeps=s["substeps"],
            rtol=s["tol"],
            atol=s["tol"],
        )
        if found.describe():
            raise RuntimeError(f"{self.system}: {found.describe()}")
        items = []
        for index in range(batch.num_graphs):
            own = slice(int(batch.ptr[index]), int(batch.ptr[index + 1]))
            for states in self._chunks(generator):
                items.append(
                    Data(
                        x=batch.x[own],
                        pos=found.pos[own, states].clone(),
                        momentum=found.momentum[own, states].clone(),
                        t=t[states].unsqueeze(0),
                    )
                )
        return items

    def _chunks(self, generator: torch.Generator) -> list[slice]:
        """Which states of a system are items."""
        size = self.settings["chunk"]
        if size is None:
            return [slice(None)]
        number = self.settings["num_states"] // size
        order = torch.randperm(number, generator=generator)
        chosen = order[: self.settings["num_chunks"]].tolist()
        return [slice(size * i, size * (i + 1)) for i in chosen]

    def _read(self) -> None:
        """Reads the file, if it is what was asked for."""
        path = self.processed_paths[0]
        try:
            saved = torch.load(path, weights_only=True)
            there, _, _ = dict(saved["settings"]), dict(saved["data"]), saved["slices"]
        except Exception as error:  # pickle, zip and torch raise all kinds
            raise ValueError(
                f"{path} is not a file of trajectories: remove it, or set "
                "'force_reload'"
            ) from error
        keys = {**there, **self.settings}
        wrong = [
            f"{key}={there.get(key)!r} there, {self.settings.get(key)!r} here"
            for key in keys
            if key != "num_systems" and there.get(key) != self.settings.get(key)
        ]
        wanted, number = self.settings["num_systems"], there.get("num_systems", 0)
        if number != wanted and there.get("center_momenta") == "systems":
            wrong.append(f"num_systems={number} there, {wanted} here")
        if wrong:
            raise ValueError(
                f"{path} has trajectories of other settings ({'; '.join(wrong)}): take "
                "another 'root', or set 'force_reload' to replace them"
            )
        if number < wanted:
            self.process()
            saved = torch.load(path, weights_only=True)
        self.data, self.slices = Data.from_dict(saved["data"]), saved["slices"]
        self._indices = range(wanted * self.settings["num_chunks"])

    def tensors(self) -> Tensors:
        r"""The trajectories as plain tensors.

        Raises:
            ValueError: If systems have different numbers of particles.
        """
        items = [super(Trajectories, self).get(i) for i in self.indices()]
        if len({item.x.size(0) for item in items}) > 1:
            raise ValueError("systems have different numbers of particles")
        states = [
            torch.cat([v.transpose(0, 1).flatten(1) for v in (i.pos, i.momentum)], 1)
            for i in items
        ]
        times = torch.cat([item.t for item in items])
        return Tensors(torch.stack(states), times, torch.stack([i.x for i in items]))


def first_state(system: System, seed: int) -> str:
    """Of a first system what it is and how it begins to move, by which systems are told
    apart that differ in nothing else that is known of them."""
    (data,) = system.sample(1, seed)
    found = system(data.x, data.pos, data.momentum)
    sums = [v.abs().sum() for v in (data.x, data.pos, data.momentum, *found)]
    return " ".join(f"{float(value.detach()):.6g}" for value in sums)
