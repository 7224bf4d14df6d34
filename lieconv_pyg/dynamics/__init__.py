r"""Hamiltonian dynamics: systems, their trajectories, networks that learn them, and
what they conserve."""

from lieconv_pyg.dynamics.conserved import (
    ConservationReport,
    Kept,
    angular_momentum,
    conservation_report,
    conserved_along,
    linear_momentum,
)
from lieconv_pyg.dynamics.graph_net import HOGN, OGN, VOGN
from lieconv_pyg.dynamics.hamiltonian import (
    Dynamics,
    HamiltonianDynamics,
    SeparableDynamics,
)
from lieconv_pyg.dynamics.integrate import Trajectory, integrate
from lieconv_pyg.dynamics.inverse_distance import Charges, Gravity
from lieconv_pyg.dynamics.lie_resnet import FLieResNet, HLieResNet
from lieconv_pyg.dynamics.mlp import FC, HFC
from lieconv_pyg.dynamics.particle_frames import particle_frames
from lieconv_pyg.dynamics.pendulum import WindyPendulum
from lieconv_pyg.dynamics.rollout import RolloutErrors, rollout, rollout_errors
from lieconv_pyg.dynamics.springs import Springs
from lieconv_pyg.dynamics.system import System
from lieconv_pyg.dynamics.trajectories import Trajectories

__all__ = [
    "FC",
    "HFC",
    "HOGN",
    "OGN",
    "VOGN",
    "Charges",
    "ConservationReport",
    "Dynamics",
    "FLieResNet",
    "Gravity",
    "HLieResNet",
    "HamiltonianDynamics",
    "Kept",
    "RolloutErrors",
    "SeparableDynamics",
    "Springs",
    "System",
    "Trajectories",
    "Trajectory",
    "WindyPendulum",
    "angular_momentum",
    "conservation_report",
    "conserved_along",
    "integrate",
    "linear_momentum",
    "particle_frames",
    "rollout",
    "rollout_errors",
]
