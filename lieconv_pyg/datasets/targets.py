"""What can be predicted: names, units and conventions of the targets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Largest atomic number that tables by element hold, plus one.
NUM_ELEMENTS = 119


@dataclass(frozen=True)
class Target:
    r"""A property of a molecule: a number, or a vector.

    Args:
        name (str): The name by which it is chosen.
        unit (str): The unit in which values, errors and plots are given.
        extensive (bool, optional): Whether it grows with the number of atoms,
            so that a sum over the atoms and references by element make sense.
            (default: :obj:`False`)
        description (str, optional): What it is, for axes and tables.
            (default: :obj:`""`)
        num_components (int, optional): :obj:`3` for a vector in space, which
            turns with the molecule. (default: :obj:`1`)

    Raises:
        ValueError: If :obj:`num_components` is neither 1 nor 3.
    """

    name: str
    unit: str
    extensive: bool = False
    description: str = ""
    num_components: int = 1

    def __post_init__(self) -> None:
        if self.num_components not in (1, 3):
            raise ValueError(
                "num_components must be 1 (a number) or 3 (a vector), "
                f"got {self.num_components!r}"
            )

    @property
    def label(self) -> str:
        """The name and unit, as an axis shows them."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class QM9Target(Target):
    r"""A target of :class:`torch_geometric.datasets.QM9`.

    Args:
        column (int): The column of :obj:`data.y`.
        stored_unit (str): The unit of that column.
        factor (float): What turns the stored unit into :obj:`unit`, the one of
            the published errors.
        referenced (bool): Whether the published errors are for values with
            the single-atom references subtracted.
        atomization_column (int, optional): The column in which PyG holds the
            same quantity with the single-atom energies subtracted.
    """

    column: int = 0
    stored_unit: str = ""
    factor: float = 1.0
    referenced: bool = False
    atomization_column: int | None = None


def _qm9_targets() -> dict[str, QM9Target]:
    mev = {"stored_unit": "eV", "unit": "meV", "factor": 1000.0}

    def same(unit: str) -> dict:
        return {"stored_unit": unit, "unit": unit}

    # name: (unit, extensive, referenced, atomisation column, description)
    rows: dict[str, tuple[dict, bool, bool, int | None, str]] = {
        "mu": (same("D"), False, False, None, "dipole moment"),
        "alpha": (same("bohr^3"), True, False, None, "isotropic polarizability"),
        "homo": (mev, False, False, None, "HOMO energy"),
        "lumo": (mev, False, False, None, "LUMO energy"),
        "gap": (mev, False, False, None, "HOMO-LUMO gap"),
        "r2": (same("bohr^2"), False, False, None, "electronic spatial extent"),
        "zpve": (mev, True, True, None, "zero-point vibrational energy"),
        "U0": (mev, True, True, 12, "internal energy at 0 K"),
        "U": (mev, True, True, 13, "internal energy at 298.15 K"),
        "H": (mev, True, True, 14, "enthalpy at 298.15 K"),
        "G": (mev, True, True, 15, "free energy at 298.15 K"),
        "Cv": (same("cal/(mol K)"), True, True, None, "heat capacity at 298.15 K"),
    }
    targets = {}
    for column, (name, row) in enumerate(rows.items()):
        units, extensive, referenced, atomization, description = row
        targets[name] = QM9Target(
            name=name,
            extensive=extensive,
            description=description,
            column=column,
            referenced=referenced,
            atomization_column=atomization,
            **units,
        )
    return targets


#: The twelve targets of the published QM9 experiments, in PyG's order.
QM9_TARGETS: Mapping[str, QM9Target] = _qm9_targets()


def _plain(name: str) -> str:
    """Folds case, separators and the British spelling of *ionization*."""
    return re.sub(r"[\s_-]+", "", name.lower()).replace("ionis", "ioniz")


def find_name(name: str, names: Iterable[str], what: str = "target") -> str:
    r"""Returns the one of :obj:`names` that :obj:`name` means.

    Case, blanks, hyphens and underscores make no difference unless two names
    differ by nothing else.

    Args:
        name (str): The name asked for.
        names (iterable of str): The names that exist.
        what (str, optional): The argument's name, for the message.
            (default: :obj:`"target"`)

    Raises:
        TypeError: If :obj:`name` is not a string.
        ValueError: If no name, or more than one, is meant; the message has the
            nearest name and lists them all.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a name (str), got {type(name).__name__}")
    names = list(names)
    if name in names:
        return name
    plain = {candidate: _plain(candidate) for candidate in names}
    found = [candidate for candidate in names if plain[candidate] == _plain(name)]
    if len(found) == 1:
        return found[0]
    near = difflib.get_close_matches(_plain(name), plain.values(), n=1, cutoff=0.5)
    hint = [f" Did you mean {c!r}?" for c in names if near and plain[c] == near[0]]
    listed = ", ".join(names) if names else "none"
    raise ValueError(
        f"{what} {name!r} does not exist.{''.join(hint[:1])} There is: {listed}"
    )


def qm9_target(name: str) -> QM9Target:
    r"""The QM9 target of the given name, in any case.

    Raises:
        ValueError: If there is none; the message has the nearest name.
    """
    return QM9_TARGETS[find_name(name, QM9_TARGETS)]
