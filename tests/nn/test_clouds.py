"""ImageLieResNet on PyG's superpixels and meshes: files in their formats, read by PyG,
loaded in batches, with PyG's transforms."""

import pytest
import torch
import torch_geometric.transforms as transforms
from torch.nn import functional as F
from torch_geometric.datasets import MNISTSuperpixels, ModelNet
from torch_geometric.loader import DataLoader

from lieconv_pyg import ImageLieResNet
from lieconv_pyg.groups import SE2, SE3, T

SOLIDS = {
    "bathtub": (
        [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)],
        [(a, b, c) for a in (0, 1) for b in (2, 3) for c in (4, 5)],
    ),
    "bed": (
        [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)],
        [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)],
    ),
}


@pytest.fixture
def superpixels(tmp_path):
    """Dark images with a bright half, or a bright middle."""
    random = torch.Generator().manual_seed(0)

    def image(label):
        pos = 28 * torch.rand(75, 2, generator=random)
        bright = (pos - 14).norm(dim=1) < 10 if label else pos[:, 0] < 14
        x = bright.float().unsqueeze(1)
        edge_index = torch.randint(75, (2, 300), generator=random)
        return dict(x=x, edge_index=edge_index, pos=pos, y=label)

    parts = [image(i % 2) for i in range(12)], [image(i % 2) for i in range(2)]
    (tmp_path / "raw").mkdir()
    torch.save(parts, tmp_path / "raw" / "MNISTSuperpixels.pt")
    return MNISTSuperpixels(tmp_path, transform=transforms.Center())


@pytest.fixture
def meshes(tmp_path):
    """Octahedra and tetrahedra."""
    for name in ModelNet.raw_file_names.fget(None):
        for part in ("train", "test"):
            folder = tmp_path / "raw" / name / part
            folder.mkdir(parents=True)
            if name not in SOLIDS:
                continue
            for number in range(4):
                points, faces = SOLIDS[name]
                lines = ["OFF", f"{len(points)} {len(faces)} 0"]
                lines += [
                    " ".join(f"{(1 + number / 9) * x:.4f}" for x in point)
                    for point in points
                ]
                lines += ["3 " + " ".join(map(str, face)) for face in faces]
                (folder / f"{name}_{number:04}.off").write_text("\n".join(lines))
    sample = transforms.Compose(
        [transforms.SamplePoints(64), transforms.NormalizeScale()]
    )
    return ModelNet(tmp_path, "10", transform=sample)


def train(model, dataset, steps):
    """Losses of some epochs."""
    loader = DataLoader(dataset, batch_size=len(dataset), shuffle=True)
    first = next(iter(loader))
    model.calibrate(first.pos, first.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        for data in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data.x, data.pos, data.batch), data.y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def make(group, **settings):
    torch.manual_seed(0)
    return ImageLieResNet(
        group,
        out_channels=2,
        hidden_channels=16,
        num_layers=2,
        total_ratio=0.25,
        fill=0.2,
        **settings,
    )


@pytest.mark.parametrize("group", [T(2), SE2()], ids=str)
def test_superpixels(superpixels, group):
    model = make(group, num_lifts=2 if group.stabilizer_dim else 1, augment=False)
    losses = train(model, superpixels, 15)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("group", [T(3), SE3()], ids=str)
def test_meshes(meshes, group):
    """As they come they have no features, and each has points of its own."""
    model = make(group, num_lifts=2 if group.stabilizer_dim else 1)
    assert meshes[0].x is None
    losses = train(model, meshes, 15)
    assert losses[-1] < 0.9 * losses[0]
    assert not model.grid.is_set


def test_evaluation_is_as_training(meshes):
    """Without features the first block sees the same everywhere, of which batch norm
    has no statistics."""
    model = make(T(3))
    losses = train(model, meshes, 40)
    data = next(iter(DataLoader(meshes, batch_size=len(meshes))))
    with torch.no_grad():
        out = model.eval()(data.x, data.pos, data.batch)
        single = [model(None, d.pos)[0] for d in data.to_data_list()]
    torch.testing.assert_close(torch.stack(single), out, rtol=1e-4, atol=1e-4)
    assert F.cross_entropy(out, data.y) < 2 * sum(losses[-5:]) / 5 + 0.2
