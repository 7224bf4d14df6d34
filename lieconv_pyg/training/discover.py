"""The discovery of symmetries, from Python."""

from __future__ import annotations

from lieconv_pyg.discovery import DiscoveryMethod, SymmetryPairs
from lieconv_pyg.training.discovery_data import DiscoveryDataModule
from lieconv_pyg.training.discovery_module import DiscoveryModule
from lieconv_pyg.training.discovery_report import Discovery, DiscoveryReport
from lieconv_pyg.training.progress import RunProgress
from lieconv_pyg.training.quiet import quiet
from lieconv_pyg.training.random_state import seeded
from lieconv_pyg.training.trainer_parts import bare_trainer


def discover(
    method: DiscoveryMethod,
    pairs: SymmetryPairs,
    max_epochs: int = 100,
    batch_size: int = 64,
    lr: float = 1e-3,
    max_restarts: int = 3,
    seed: int = 0,
    progress: bool = False,
) -> Discovery:
    r"""Looks for the symmetry of pairs :math:`(x, y)`, as ``lieconv fit`` does, without
    files.

    Args:
        method: Such as :class:`~lieconv_pyg.discovery.LieGAN`, with the representation
            of the pairs. It is trained in place, from where it is.
        pairs: The data.
        max_epochs: Passes over them, without those before a restart.
        batch_size: Pairs in a step.
        lr: Learning rate of Adam.
        max_restarts: How often a method that has collapsed begins anew.
        seed: Of the run's random numbers; those of the program go on as they were.
        progress: Whether to show a bar.

    Raises:
        TypeError: If the method or the pairs are something else.
        ValueError: If an argument is out of range, or the method was built for another
            representation.

    Example:
        >>> x = torch.randn(2000, 2)
        >>> pairs = SymmetryPairs(x, x.norm(dim=1), "scalars")
        >>> found = discover(LieGAN(pairs.representation), pairs)  # doctest: +SKIP
    """
    if not isinstance(method, DiscoveryMethod):
        raise TypeError(f"'method' must be a DiscoveryMethod, got {type(method)}")
    if not isinstance(pairs, SymmetryPairs):
        raise TypeError(f"'pairs' must be SymmetryPairs, got {type(pairs)}")
    data = DiscoveryDataModule(pairs=pairs, batch_size=batch_size)
    module = DiscoveryModule(method, lr, max_restarts)
    module.check(data)
    report = DiscoveryReport()
    with quiet(), seeded(seed):
        trainer = bare_trainer(
            max_epochs=max_epochs,
            callbacks=[report, RunProgress()] if progress else [report],
            enable_progress_bar=progress,
            limit_val_batches=0,
        )
        trainer.fit(module, datamodule=data)
        trainer.test(module, datamodule=data, verbose=False)
    assert report.test is not None
    return report.test
