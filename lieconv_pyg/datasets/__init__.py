r"""Molecules to train on: QM9, ASE's G2 set, molecular dynamics, and any file that ASE
reads; structures in and out; images as point sets: rotated MNIST and rotated digits of
scikit-learn; jets: the top tagging data and toy ones; and moments of inertia whose
symmetry can be broken."""

from lieconv_pyg.datasets.ase_atoms import from_atoms
from lieconv_pyg.datasets.ase_file import load_ase_file
from lieconv_pyg.datasets.g2 import G2_TARGETS, load_g2
from lieconv_pyg.datasets.image_files import read_amat, read_idx
from lieconv_pyg.datasets.jet_files import JetArrays, read_jet_arrays, read_jet_table
from lieconv_pyg.datasets.jets import Jets
from lieconv_pyg.datasets.load import load_molecules
from lieconv_pyg.datasets.lorentz_toy import LorentzToy, lorentz_target
from lieconv_pyg.datasets.md_file import load_md_file
from lieconv_pyg.datasets.modified_inertia import ModifiedInertia, modified_inertia
from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.qm9 import (
    load_qm9,
    qm9_on_disk,
    qm9_references,
    qm9_root,
)
from lieconv_pyg.datasets.rot_digits import RotDigits
from lieconv_pyg.datasets.rotmnist import PointImages, RotMNIST
from lieconv_pyg.datasets.splits import limit_split, qm9_split, random_split
from lieconv_pyg.datasets.statistics import (
    Statistics,
    choose_references,
    fit_references,
    target_statistics,
)
from lieconv_pyg.datasets.structure_writer import write_structures
from lieconv_pyg.datasets.structures import read_structures, structures_data
from lieconv_pyg.datasets.targets import (
    QM9_TARGETS,
    QM9Target,
    Target,
    find_name,
    qm9_target,
)
from lieconv_pyg.datasets.top_tagging import TopTagging
from lieconv_pyg.datasets.toy_jets import ToyJetArrays, ToyJets, toy_jets
from lieconv_pyg.datasets.units import (
    dipole_factor,
    energy_factor,
    is_dipole,
    is_energy,
)

__all__ = [
    "G2_TARGETS",
    "QM9_TARGETS",
    "JetArrays",
    "Jets",
    "LorentzToy",
    "ModifiedInertia",
    "Molecules",
    "PointImages",
    "QM9Target",
    "RotDigits",
    "RotMNIST",
    "Statistics",
    "Target",
    "TopTagging",
    "ToyJetArrays",
    "ToyJets",
    "choose_references",
    "dipole_factor",
    "energy_factor",
    "find_name",
    "fit_references",
    "from_atoms",
    "is_dipole",
    "is_energy",
    "limit_split",
    "load_ase_file",
    "load_g2",
    "load_md_file",
    "load_molecules",
    "load_qm9",
    "lorentz_target",
    "modified_inertia",
    "qm9_on_disk",
    "qm9_references",
    "qm9_root",
    "qm9_split",
    "qm9_target",
    "random_split",
    "read_amat",
    "read_idx",
    "read_jet_arrays",
    "read_jet_table",
    "read_structures",
    "structures_data",
    "target_statistics",
    "toy_jets",
    "write_structures",
]
