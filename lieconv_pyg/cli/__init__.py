r"""The command ``lieconv``: trains and tests networks on molecules, dynamics,
images and jets.

.. code-block:: console

    lieconv fit --config examples/configs/demo.yaml
    lieconv fit --config FILE --data.target homo --trainer.max_epochs 20
    lieconv fit --output RUN --ckpt_path last
    lieconv test --ckpt_path RUN/checkpoints/best.ckpt
    lieconv predict --ckpt_path RUN/checkpoints/best.ckpt --data molecules.extxyz
"""

from lieconv_pyg.cli.commands import fit, main
from lieconv_pyg.cli.errors import RunError, UsageError
from lieconv_pyg.cli.lightning_cli import LieConvCLI, Run

__all__ = ["LieConvCLI", "Run", "RunError", "UsageError", "fit", "main"]
