import copy
import pickle

import pytest
import torch
from torch.utils._pytree import tree_leaves

from lieconv_pyg.groups import SE3
from lieconv_pyg.lifting import Lifted
from tests.clouds import lifted_cloud


def test_select():
    lifted = lifted_cloud(SE3())
    index = torch.tensor([1, 5, 80])
    part = lifted.select(index)
    assert isinstance(part, Lifted)
    assert part.num_points == 3
    assert all(torch.equal(a, b[index]) for a, b in zip(part, lifted, strict=True))
    mask = torch.zeros(lifted.num_points, dtype=torch.bool)
    mask[index] = True
    again = lifted.select(mask)
    assert all(torch.equal(a, b) for a, b in zip(part, again, strict=True))


def test_to():
    lifted = lifted_cloud(SE3())
    single = lifted.to(torch.float32)
    assert single.element.dtype == single.orbit.dtype == torch.float32
    assert single.batch.dtype == single.point.dtype == torch.long
    assert lifted.to("meta").component.device.type == "meta"
    assert lifted.to(torch.device("cpu")).num_points == lifted.num_points
    with pytest.raises(TypeError, match="floating-point"):
        lifted.to(torch.long)


def test_gradient_flags():
    lifted = lifted_cloud(SE3())
    assert not lifted.requires_grad
    lifted.element.requires_grad_()
    assert lifted.requires_grad
    assert not lifted.detach().requires_grad


def test_pytree_pickle_and_copy():
    lifted = lifted_cloud(SE3())
    assert len(tree_leaves(lifted)) == 5
    for other in (pickle.loads(pickle.dumps(lifted)), copy.deepcopy(lifted)):
        assert isinstance(other, Lifted)
        assert all(torch.equal(a, b) for a, b in zip(other, lifted, strict=True))
