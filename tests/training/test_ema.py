import pytest
import torch
from lightning.pytorch import Callback

from lieconv_pyg.groups import SE3
from lieconv_pyg.nn import MoleculeLieResNet
from lieconv_pyg.training import EMA, MoleculeDataModule, MoleculeModule
from tests.training.test_molecule_module import trainer


class Follow(Callback):
    """Averages by hand, and notes what is validated."""

    def __init__(self, decay):
        self.decay, self.count, self.average, self.validated = decay, 0, None, []

    def on_train_batch_end(self, trainer, pl_module, *args):
        now = {k: v.clone() for k, v in pl_module.state_dict().items()}
        if self.average is None:
            self.average = now
        else:
            d = min(self.decay, (1 + self.count) / (10 + self.count))
            for key, value in now.items():
                if value.is_floating_point():
                    self.average[key] = d * self.average[key] + (1 - d) * value
                else:
                    self.average[key] = value
        self.count += 1

    def on_validation_batch_end(self, trainer, pl_module, *args):
        weight = pl_module.network.net.lin_out.weight.detach().clone()
        if not trainer.sanity_checking:
            self.validated.append((weight, self.average["network.net.lin_out.weight"]))


def test_average(tmp_path):
    torch.manual_seed(0)
    net = MoleculeLieResNet(
        SE3(), species=range(1, 20), hidden_channels=8, num_layers=1, fill=0.5
    )
    module = MoleculeModule(net, lr=1e-2)
    data = MoleculeDataModule("g2", "ZPE", limit=[24, 8, 9], batch_size=8)
    follow = Follow(0.8)
    run = trainer(tmp_path, max_epochs=6, callbacks=[follow, EMA(0.8)])
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert follow.count == 18
    for used, average in follow.validated:
        torch.testing.assert_close(used, average)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, follow.average[name])
        torch.testing.assert_close(saved[name], value)
    # Tables, references and the radius are not changed by being averaged.
    assert torch.equal(module.references, data.statistics.references)
    assert module.network.species.tolist() == list(range(1, 20))
    assert module.mad.item() == data.statistics.mad
    # A test of the checkpoint after the training is one of the average.
    before = module.state_dict()["network.net.lin_out.weight"].clone()
    run.test(module, data, tmp_path / "a.ckpt", verbose=False)
    assert torch.equal(module.state_dict()["network.net.lin_out.weight"], before)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0, -1.0])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match=r"ema must be in \(0, 1\)"):
        EMA(decay)
