import pytest
import torch

from lieconv_pyg.groups import SE2, SQ, RxSO2, RxSQ, T
from lieconv_pyg.lifting import check_points_and_batch, lift, lift_frames

POS = torch.randn(6, 3)
BATCH = torch.tensor([0, 0, 1, 1, 1, 4])


def bad(value: float) -> torch.Tensor:
    pos = POS.clone()
    pos[2, 1] = value
    return pos


CASES = [
    ([[0.0, 0.0, 0.0]], None, TypeError, "'pos' must be a torch.Tensor.*as_tensor"),
    (POS.tolist(), BATCH, TypeError, "'pos' must be a torch.Tensor"),
    (POS.view(-1), None, ValueError, r"'pos' must have shape \(N, d\), got \(18,\)"),
    (POS.view(2, 3, 3), None, ValueError, "'pos' must have shape"),
    (POS.long(), None, TypeError, r"'pos' must be float32 or float64.*pos.float\(\)"),
    (POS.half(), None, TypeError, "'pos' must be float32 or float64"),
    (POS[:0], None, ValueError, "'pos' is empty"),
    (POS[:0], BATCH[:0], ValueError, "'pos' is empty"),
    (bad(float("nan")), None, ValueError, "'pos' has NaN or inf.* in 1 of 6 points"),
    (bad(float("inf")), BATCH, ValueError, "'pos' has NaN or infinite"),
    (POS[:, :2], None, ValueError, r"'pos' has 2 coordinates.*T\(3\) acts on 3"),
    (POS, BATCH.tolist(), TypeError, "'batch' must be a torch.Tensor"),
    (POS, BATCH.float(), TypeError, r"'batch' must have dtype.*batch.long\(\)"),
    (POS, BATCH[:5], ValueError, r"'batch' must have shape \(6,\)"),
    (POS, BATCH.view(6, 1), ValueError, r"'batch' must have shape \(6,\)"),
    (POS, BATCH.flip(0), ValueError, "'batch' must be.*Sort the points by 'batch'"),
    (POS, BATCH - 1, ValueError, "'batch' must be non-negative"),
    (POS, BATCH.to("meta"), ValueError, "'batch' is on meta but 'pos' is on cpu"),
]


@pytest.mark.parametrize(("pos", "batch", "error", "match"), CASES)
@pytest.mark.parametrize("function", [lift, lift_frames])
def test_bad_input(function, pos, batch, error, match):
    with pytest.raises(error, match=match):
        function(T(3), pos, batch)


def test_good_input():
    assert check_points_and_batch(POS, None).tolist() == [0] * 6
    assert check_points_and_batch(POS, BATCH) is BATCH
    assert check_points_and_batch(POS, BATCH, T(3)) is BATCH
    assert check_points_and_batch(POS[:1], BATCH[-1:]).tolist() == [4]


@pytest.mark.parametrize("group", [RxSO2(), SQ(), RxSQ()], ids=str)
def test_points_that_cannot_be_lifted(group):
    pos = torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="1"):
        lift(group, pos)
    with pytest.raises(ValueError, match="1"):
        lift_frames(group, pos)


def test_group_of_another_dimension():
    with pytest.raises(ValueError, match=r"SE2.* acts on 2-dimensional points"):
        lift_frames(SE2(), POS)
