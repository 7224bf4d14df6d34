"""Energies in eV and dipoles in e·Å, the units of ASE."""

from __future__ import annotations

import re
from typing import Any

from lieconv_pyg.datasets.targets import Target, find_name

#: How dipoles of ASE's calculators are labelled.
DIPOLE_UNIT = "e*Ang"

# Each unit: a number, and what it multiplies in ase.units.
_ENERGIES: dict[str, tuple[float, str]] = {
    "eV": (1.0, "eV"),
    "meV": (1e-3, "eV"),
    "Ha": (1.0, "Hartree"),
    "Hartree": (1.0, "Hartree"),
    "mHa": (1e-3, "Hartree"),
    "kcal/mol": (1.0, "kcal / mol"),
    "kJ/mol": (1.0, "kJ / mol"),
    "Ry": (1.0, "Rydberg"),
    "cm^-1": (1.0, "invcm"),
}
_DIPOLES: dict[str, tuple[float, str]] = {
    DIPOLE_UNIT: (1.0, "Angstrom"),
    "D": (1.0, "Debye"),
    "e*a0": (1.0, "Bohr"),
}
#: Other spellings, compared as :func:`_spelled` gives them.
_SAME = {
    "cm-1": "cm^-1",
    "1/cm": "cm^-1",
    "eh": "Ha",
    "e*a": DIPOLE_UNIT,
    "ea": DIPOLE_UNIT,
    "eang": DIPOLE_UNIT,
    "e*angstrom": DIPOLE_UNIT,
    "ea0": "e*a0",
    "e*bohr": "e*a0",
    "debye": "D",
}

#: Names of targets whose gradient is a force, without blanks and in lower case.
_POTENTIALS = re.compile(
    r"((ref|dft|ccsd|ccsd\(t\))?(free|total|potential|internal|binding|atomi[sz]ation|"
    r"formation)?energy|u0|u|h|g|e|enthalpy|enthalpyofformation)"
)


def energy_factor(unit: str) -> float:
    r"""What turns an energy in :obj:`unit` into eV.

    Args:
        unit (str): eV, meV, Ha (or Hartree), mHa, kcal/mol, kJ/mol, Ry or cm^-1.

    Raises:
        ValueError: If it is none of these; the message has the nearest one.
        ImportError: If ASE is not installed.
    """
    return _factor(unit, _ENERGIES, "the unit of energy")


def dipole_factor(unit: str) -> float:
    r"""What turns a dipole in :obj:`unit` into e·Å.

    Args:
        unit (str): e*Ang (also written e*Å), D or e*a0.

    Raises:
        ValueError: If it is none of these; the message has the nearest one.
        ImportError: If ASE is not installed.
    """
    return _factor(unit, _DIPOLES, "the unit of dipoles")


def is_energy(target: Target) -> bool:
    """Whether a target is a number in a unit that :func:`energy_factor` knows."""
    return target.num_components == 1 and _known(target.unit, _ENERGIES)


def is_potential(target: Target, by_unit: bool = False) -> bool:
    """Whether forces are the negative gradient of a target: by its name, or by its
    unit alone."""
    plain = re.sub(r"[\s_-]+", "", target.name.lower())
    return is_energy(target) and (by_unit or bool(_POTENTIALS.fullmatch(plain)))


def is_dipole(target: Target) -> bool:
    """Whether a target is a vector in a unit that :func:`dipole_factor` knows."""
    return target.num_components == 3 and _known(target.unit, _DIPOLES)


def check_unit(target: Target) -> None:
    r"""Checks the unit of what ASE knows: energies and dipoles. What else there is may
    be in any unit.

    Raises:
        ValueError: If it is not one of theirs; the message has the nearest one.
    """
    if target.name in ("energy", "free_energy") and target.num_components == 1:
        energy_factor(target.unit)
    elif target.name == "dipole" and target.num_components == 3:
        dipole_factor(target.unit)


def _spelled(unit: str) -> str:
    """Å and the dot in letters and a star."""
    for sign in ("Å", "\N{ANGSTROM SIGN}"):
        unit = unit.replace(sign, "Ang")
    return unit.replace("·", "*").replace("⁻¹", "^-1")


def _name(unit: str, table: dict[str, Any], what: str) -> str:
    """The unit's name in the table."""
    if isinstance(unit, str):
        unit = _spelled(unit)
        unit = _SAME.get(unit.lower().replace(" ", ""), unit)
    name = find_name(unit, table, what)
    if name in {"meV", "mHa"} and unit.startswith("M"):  # mega is not milli
        raise ValueError(f"{what} {unit!r} does not exist. Did you mean {name!r}?")
    return name


def _known(unit: str, table: dict[str, Any]) -> bool:
    try:
        _name(unit, table, "unit")
    except ValueError:
        return False
    return True


def _factor(unit: str, table: dict[str, tuple[float, str]], what: str) -> float:
    number, product = table[_name(unit, table, what)]
    try:
        from ase import units
    except ImportError as error:
        raise ImportError(
            "units are converted by ASE, which is not installed: pip install ase"
        ) from error
    top, _, bottom = product.partition(" / ")
    return number * getattr(units, top) / (getattr(units, bottom) if bottom else 1.0)
