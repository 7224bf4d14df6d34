"""From data to symmetry: bases of Lie algebras, learned, judged and cleaned."""

from lieconv_pyg.discovery.augerino import (
    Augerino,
    AugerinoMolecules,
    AugerinoPlus,
    Predictor,
    Widths,
    affine_generators,
)
from lieconv_pyg.discovery.clean import clean_basis
from lieconv_pyg.discovery.gan import Discriminator, LieGAN, SymmetryGAN
from lieconv_pyg.discovery.generator import LieGenerator
from lieconv_pyg.discovery.method import DiscoveryMethod, Player
from lieconv_pyg.discovery.metric import InvariantMetric, invariant_metric
from lieconv_pyg.discovery.null_space import (
    GradientNullSpace,
    NullSpace,
    gradient_null_space,
)
from lieconv_pyg.discovery.pairs import Representation, SymmetryPairs
from lieconv_pyg.discovery.plots import plot_basis, plot_losses, plot_metric
from lieconv_pyg.discovery.problems import (
    discrete_rotation,
    leading_constituents,
    lorentz_basis,
    lorentz_scattering,
    read_two_body,
    step_pairs,
    three_body_orbits,
    two_body_orbits,
)
from lieconv_pyg.discovery.regularizers import (
    channel_penalty,
    closure_penalty,
    identity_penalty,
)
from lieconv_pyg.discovery.score import BasisScore, score_basis, score_cyclic
from lieconv_pyg.discovery.shared_block import shared_block

__all__ = [
    "Augerino",
    "AugerinoMolecules",
    "AugerinoPlus",
    "BasisScore",
    "DiscoveryMethod",
    "Discriminator",
    "GradientNullSpace",
    "InvariantMetric",
    "LieGAN",
    "LieGenerator",
    "NullSpace",
    "Player",
    "Predictor",
    "Representation",
    "SymmetryGAN",
    "SymmetryPairs",
    "Widths",
    "affine_generators",
    "channel_penalty",
    "clean_basis",
    "closure_penalty",
    "discrete_rotation",
    "gradient_null_space",
    "identity_penalty",
    "invariant_metric",
    "leading_constituents",
    "lorentz_basis",
    "lorentz_scattering",
    "plot_basis",
    "plot_losses",
    "plot_metric",
    "read_two_body",
    "score_basis",
    "score_cyclic",
    "shared_block",
    "step_pairs",
    "three_body_orbits",
    "two_body_orbits",
]
