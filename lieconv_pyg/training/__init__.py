r"""Training of molecules, dynamics, images and jets, and of what looks for symmetries,
on Lightning."""

from lieconv_pyg.training.discover import discover
from lieconv_pyg.training.discovery_data import DiscoveryDataModule
from lieconv_pyg.training.discovery_module import DiscoveryModule
from lieconv_pyg.training.discovery_report import Discovery, DiscoveryReport
from lieconv_pyg.training.divergence import DivergenceError
from lieconv_pyg.training.dynamics_data import DynamicsDataModule
from lieconv_pyg.training.dynamics_module import DynamicsModule
from lieconv_pyg.training.dynamics_report import (
    DynamicsReport,
    DynamicsTest,
    Rollouts,
    dynamics_table,
    dynamics_text,
)
from lieconv_pyg.training.ema import EMA
from lieconv_pyg.training.image_data import ImageDataModule
from lieconv_pyg.training.image_module import ImageModule
from lieconv_pyg.training.image_report import (
    ImageReport,
    ImageTest,
    image_table,
    image_text,
)
from lieconv_pyg.training.jet_data import JetDataModule
from lieconv_pyg.training.jet_metrics import (
    background_efficiency,
    background_rejection,
    roc_auc,
    roc_curve,
)
from lieconv_pyg.training.jet_module import JetModule
from lieconv_pyg.training.jet_report import (
    JetReport,
    JetTest,
    jet_table,
    jet_text,
    roc_plot,
)
from lieconv_pyg.training.meta import MetaModule, MetaTest, meta_train
from lieconv_pyg.training.molecule_data import MoleculeDataModule
from lieconv_pyg.training.molecule_module import MoleculeModule
from lieconv_pyg.training.molecule_report import MoleculeReport
from lieconv_pyg.training.plots import learning_curve, parity_plot
from lieconv_pyg.training.progress import RunProgress
from lieconv_pyg.training.quiet import quiet
from lieconv_pyg.training.random_state import RandomState
from lieconv_pyg.training.report import RunReport
from lieconv_pyg.training.results import Predictions, error_table
from lieconv_pyg.training.schedule import warmup_cosine, warmup_cosine_scheduler
from lieconv_pyg.training.soft_symmetry import SoftSymmetry

__all__ = [
    "EMA",
    "Discovery",
    "DiscoveryDataModule",
    "DiscoveryModule",
    "DiscoveryReport",
    "DivergenceError",
    "DynamicsDataModule",
    "DynamicsModule",
    "DynamicsReport",
    "DynamicsTest",
    "ImageDataModule",
    "ImageModule",
    "ImageReport",
    "ImageTest",
    "JetDataModule",
    "JetModule",
    "JetReport",
    "JetTest",
    "MetaModule",
    "MetaTest",
    "MoleculeDataModule",
    "MoleculeModule",
    "MoleculeReport",
    "Predictions",
    "RandomState",
    "Rollouts",
    "RunProgress",
    "RunReport",
    "SoftSymmetry",
    "background_efficiency",
    "background_rejection",
    "discover",
    "dynamics_table",
    "dynamics_text",
    "error_table",
    "image_table",
    "image_text",
    "jet_table",
    "jet_text",
    "learning_curve",
    "meta_train",
    "parity_plot",
    "quiet",
    "roc_auc",
    "roc_curve",
    "roc_plot",
    "warmup_cosine",
    "warmup_cosine_scheduler",
]
