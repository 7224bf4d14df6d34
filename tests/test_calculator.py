"""The ASE calculator: forces, units, symmetry, dynamics and errors."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from lieconv_pyg import MoleculeLieResNet
from lieconv_pyg.calculator import LieConvCalculator
from lieconv_pyg.datasets import QM9_TARGETS, Statistics, Target
from lieconv_pyg.groups import SE3, SO3, T
from lieconv_pyg.training import MoleculeModule

ENERGY = Target("energy", "kcal/mol", True)
CUTOFF = 4.5  # Å: distances of T(3) and SE(3) are 0.2 times those of the points


def model(target=ENERGY, group=None, scale=2e4, dtype=torch.float64, **kwargs):
    """An untrained network whose energies have the stiffness of real ones."""
    torch.manual_seed(1)
    kwargs = {"radius": 0.2 * CUTOFF, "envelope": True, "norm": None} | kwargs
    network = MoleculeLieResNet(
        group or T(3), species=(1, 6, 8), hidden_channels=16, num_layers=2, **kwargs
    )
    module = MoleculeModule(network).to(dtype)
    for name in ("mad", "median", "references"):  # always in float64
        setattr(module, name, getattr(module, name).double())
    references = torch.zeros(119, dtype=torch.float64)
    references[[1, 6, 8]] = torch.tensor([-300.0, -24000.0, -47000.0]).double()
    mean = torch.zeros((), dtype=torch.float64)
    module.set_target(target, Statistics(7.0, scale, mean, references, "fit"))
    return module


def ethanol(calculator=None, seed=0):
    atoms = molecule("CH3CH2OH", calculator=calculator)
    atoms.rattle(0.05, seed=seed)
    return atoms


def numerical_forces(atoms, step=1e-4):
    """Central differences of the energy."""
    forces = np.zeros((len(atoms), 3))
    for i in np.ndindex(forces.shape):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[i] += sign * step
            forces[i] -= sign * moved.get_potential_energy() / (2 * step)
    return forces


@pytest.mark.parametrize("group", ["T(3)", "SE3()"])
def test_forces_are_minus_the_gradient(group):
    kwargs = {"group": SE3(), "lift": "frames"} if group == "SE3()" else {}
    atoms = ethanol(LieConvCalculator(model(**kwargs, scale=1e3)))
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 1e-4
    assert np.abs(forces - numerical_forces(atoms)).max() < 1e-6


def test_no_net_force_and_for_se3_no_torque():
    for kwargs, invariant in (({}, False), ({"group": SE3(), "lift": "frames"}, True)):
        atoms = ethanol(LieConvCalculator(model(**kwargs)))
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        size = np.abs(forces).max()
        assert np.abs(forces.sum(0)).max() < 1e-10 * size
        torque = np.cross(atoms.positions, forces).sum(0)
        rotation = SO3().sample(1, dtype=torch.float64)[0].numpy()
        atoms.positions = atoms.positions @ rotation.T + 3.0
        change = abs(atoms.get_potential_energy() - energy)
        turned = np.abs(atoms.get_forces() - forces @ rotation.T).max()
        if invariant:
            assert np.abs(torque).max() < 1e-8 * size
            assert change < 1e-8 * size and turned < 1e-8 * size
        else:  # T(3) is not invariant to rotations: the test would notice
            assert np.abs(torque).max() > 1e-3 * size
            assert change > 1e-3 * size and turned > 1e-3 * size


def energy_error(dt, steps):
    """The largest change of the total energy on the way, in eV."""
    atoms = ethanol(LieConvCalculator(model(scale=1e6)))
    spread = np.sqrt(300 * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    energies = [atoms.get_total_energy()]
    kinetic = [atoms.get_kinetic_energy()]
    dynamics = VelocityVerlet(atoms, dt * units.fs)
    for _ in range(steps):
        dynamics.run(1)
        energies.append(atoms.get_total_energy())
        kinetic.append(atoms.get_kinetic_energy())
    assert np.ptp(kinetic) > 0.05  # something happened
    return np.abs(np.array(energies) - energies[0]).max()


def test_dynamics_conserve_the_energy():
    whole, half = energy_error(0.25, 50), energy_error(0.125, 100)
    assert whole < 3e-4  # of 0.25 eV of motion, with forces up to 0.9 eV/Å
    assert 3.5 < whole / half < 4.5  # of second order


def across_the_cutoff(module, delta):
    """Energies and forces of an oxygen next to CO on both sides of the cutoff, more
    than CUTOFF away from the other atom."""
    calculator = LieConvCalculator(module)
    found = []
    for distance in (CUTOFF - delta, CUTOFF + delta):
        positions = [[0, 0, 0], [-1.1, 0, 0], [distance, 0, 0]]
        atoms = Atoms("COO", positions, calculator=calculator)
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    (e0, f0), (e1, f1) = found
    return abs(e1 - e0), np.abs(f1 - f0).max(), np.abs(f0).max()


def test_no_jump_at_the_cutoff():
    energy, force, size = across_the_cutoff(model(), 1e-6)
    assert size > 1e-3
    assert energy < 1e-7 and force < 1e-7
    energy, *_ = across_the_cutoff(model(envelope=False), 1e-6)
    assert energy > 1e-3  # without an envelope there is one


def test_units():
    """The same network in other units: other numbers, and the same factor."""
    found = {}
    for unit, factor in (
        ("eV", 1.0),
        ("meV", 1e-3),
        ("Ha", units.Hartree),
        ("kcal/mol", units.kcal / units.mol),
    ):
        calculator = LieConvCalculator(model(Target("U0", unit, True)))
        atoms = ethanol(calculator)
        found[unit] = atoms.get_potential_energy() / factor
        np.testing.assert_allclose(
            atoms.get_forces() / factor, ethanol_forces(), rtol=1e-9, atol=1e-9
        )
    np.testing.assert_allclose(list(found.values()), found["eV"], rtol=1e-12)


def ethanol_forces():
    """Without the calculator, in the unit of the target."""
    module, atoms = model().eval(), ethanol()
    pos = torch.from_numpy(atoms.positions).requires_grad_()
    energy = module(torch.from_numpy(atoms.numbers), pos)
    return -torch.autograd.grad(energy.sum(), pos)[0].numpy()


class Charges(torch.nn.Module):
    """A dipole: charges by atomic number times positions."""

    species = (1, 6, 8)

    def __init__(self):
        super().__init__()
        self.charge = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, z, pos, batch):
        charge = self.charge * (z - z.double().mean())
        return (charge.unsqueeze(1) * pos).sum(0, keepdim=True)


@pytest.mark.parametrize(
    ("unit", "factor"), [("D", units.Debye), ("e*Å", 1.0), ("e*a0", units.Bohr)]
)
def test_dipole(unit, factor):
    module = MoleculeModule(Charges())
    mean = torch.zeros(3, dtype=torch.float64)
    statistics = Statistics(0.0, 2.0, mean, torch.zeros(119), "none")
    module.set_target(Target("dipole", unit, num_components=3), statistics)
    atoms = ethanol(LieConvCalculator(module))
    z = atoms.numbers
    charge = 0.2 * (z - z.mean())
    np.testing.assert_allclose(
        atoms.get_dipole_moment(), factor * charge @ atoms.positions, rtol=1e-9
    )
    assert atoms.calc.implemented_properties == ["dipole"]
    with pytest.raises(NotImplementedError):
        atoms.get_potential_energy()


def test_results_do_not_depend_on_history():
    calculator = LieConvCalculator(model())
    first, second = ethanol(calculator), ethanol(calculator, seed=1)
    energy, forces = first.get_potential_energy(), first.get_forces()
    other = second.get_forces()
    assert not np.allclose(forces, other)
    assert first.get_potential_energy() == energy
    np.testing.assert_array_equal(first.get_forces(), forces)
    calculator.calculate(second, ["energy"])
    assert "forces" not in calculator.results  # those of the first would be wrong
    fresh = LieConvCalculator(model())
    np.testing.assert_array_equal(fresh.get_forces(ethanol()), forces)
    assert calculator.results["free_energy"] == calculator.results["energy"]


def test_the_model_stays_as_it_is_and_later_training_changes_nothing():
    module = model(dtype=torch.float32)
    before = copy.deepcopy(module.state_dict())
    module.train()
    single = ethanol(LieConvCalculator(module))
    double = ethanol(LieConvCalculator(module, dtype=torch.float64))
    energy = single.get_potential_energy()
    assert module.training and next(module.parameters()).requires_grad
    assert next(module.parameters()).dtype == torch.float32
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    single.calc.results = {}
    assert single.get_potential_energy() == energy
    forces = double.get_forces()
    assert np.abs(double.get_forces() - numerical_forces(double)).max() < 1e-5
    assert np.abs(single.get_forces() - forces).max() < 1e-3 * np.abs(forces).max()


def test_single_precision_far_from_the_origin_and_large_energies():
    """Positions and references keep their digits where the network has float32."""
    module = model()
    module.references.mul_(1000.1)
    atoms = ethanol(LieConvCalculator(module, dtype=torch.float32))
    exact = ethanol(LieConvCalculator(module))
    assert exact.get_potential_energy() < -4e6  # to 0.25 in float32
    difference = atoms.get_potential_energy() - exact.get_potential_energy()
    assert 0 < abs(difference) < 1e-3
    forces = atoms.get_forces()
    atoms.positions += 1e4
    assert np.abs(atoms.get_forces() - forces).max() < 1e-4 * np.abs(forces).max()


def test_single_atoms_and_optimisers():
    calculator = LieConvCalculator(model())
    alone = Atoms("O", calculator=calculator)
    assert alone.get_forces().tolist() == [[0, 0, 0]]
    atoms = ethanol(calculator)
    start = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=3)
    assert atoms.get_potential_energy() < start


def test_paths_are_loaded(monkeypatch, tmp_path):
    asked = []

    def load(path):
        asked.append(path)
        return model()

    monkeypatch.setattr("lieconv_pyg.calculator.load_molecules", load)
    atoms = ethanol(LieConvCalculator(tmp_path / "best.ckpt"))
    assert asked == [tmp_path / "best.ckpt"]
    np.testing.assert_array_equal(
        atoms.get_forces(), ethanol(LieConvCalculator(model())).get_forces()
    )
    with pytest.raises(TypeError, match="path or a MoleculeModule, got int"):
        LieConvCalculator(3)


@pytest.mark.parametrize("name", ["U0", "U", "H", "G", "free energy", "Free_Energy"])
def test_names_of_energies(name):
    target = QM9_TARGETS.get(name, Target(name, "eV", True))
    calculator = LieConvCalculator(model(target))
    assert calculator.implemented_properties == ["energy", "free_energy", "forces"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (QM9_TARGETS["homo"], r"homo \(meV\).*not a potential energy.*as_energy=True"),
        (QM9_TARGETS["gap"], "not a potential energy"),
        (QM9_TARGETS["zpve"], "not a potential energy"),
        (Target("ionization_energy", "eV"), "not a potential energy"),
        (QM9_TARGETS["mu"], r"mu \(D\), a number: a calculator needs an energy"),
        (Target("energy", "kT"), "a calculator needs an energy"),
        (Target("energy", "eV", num_components=3), "a vector: a calculator needs"),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_targets_without_a_property(target, message):
    module = model(target)
    with pytest.raises(ValueError, match=message):
        LieConvCalculator(module)


def test_other_errors():
    assert LieConvCalculator(model(QM9_TARGETS["gap"]), as_energy=True)
    with pytest.raises(ValueError, match="as_energy needs a number in a unit"):
        LieConvCalculator(model(QM9_TARGETS["mu"]), as_energy=True)
    with pytest.raises(ValueError, match="has no target"):
        LieConvCalculator(MoleculeModule(torch.nn.Linear(1, 1)))
    calculator = LieConvCalculator(model())
    with pytest.raises(ValueError, match=r"not built for N, F; it knows H, C, O"):
        Atoms("FN", [[0, 0, 0], [0, 0, 1]], calculator=calculator).get_forces()
    with pytest.raises(ValueError, match="no atoms"):
        Atoms(calculator=calculator).get_potential_energy()
    with pytest.raises(NotImplementedError, match="stress"):
        ethanol(calculator).get_stress()


def test_periodic_structures_warn_once():
    atoms = ethanol(LieConvCalculator(model()))
    energy = atoms.get_potential_energy()
    atoms.set_cell([3, 3, 3])
    atoms.pbc = True
    with pytest.warns(UserWarning, match="does not see its images"):
        assert atoms.get_potential_energy() == energy
    atoms.rattle(0.01)
    atoms.get_potential_energy()  # a second warning would be an error
