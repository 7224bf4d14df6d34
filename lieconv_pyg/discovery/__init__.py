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
from lieconv_pyg.discovery.msr import MAML, LocalLinear, SharedLinear
from lieconv_pyg.discovery.msr_score import SharingScore, score_sharing
from lieconv_pyg.discovery.msr_tasks import SharingTasks, synthetic_tasks
from lieconv_pyg.discovery.null_space import (
    GradientNullSpace,
    NullSpace,
    gradient_null_space,
)
from lieconv_pyg.discovery.pairs import Representation, SymmetryPairs, read_pairs
from lieconv_pyg.discovery.plots import (
    plot_basis,
    plot_losses,
    plot_metric,
    plot_sharing,
)
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
    "MAML",
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
    "LocalLinear",
    "NullSpace",
    "Player",
    "Predictor",
    "Representation",
    "SharedLinear",
    "SharingScore",
    "SharingTasks",
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
    "plot_sharing",
    "read_pairs",
    "read_two_body",
    "score_basis",
    "score_cyclic",
    "score_sharing",
    "shared_block",
    "step_pairs",
    "synthetic_tasks",
    "three_body_orbits",
    "two_body_orbits",
]
