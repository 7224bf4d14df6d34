import pytest
import torch

from lieconv_pyg.datasets import (
    Molecules,
    Target,
    choose_references,
    fit_references,
    load_g2,
    target_statistics,
)


def molecules(y, composition=None, references=None, extensive=True):
    composition = composition or [[1]] * len(y)
    z = torch.tensor([z for row in composition for z in row])
    return Molecules(
        z,
        torch.randn(len(z), 3),
        torch.tensor([len(row) for row in composition]),
        torch.tensor(y),
        [str(i) for i in range(len(y))],
        Target("energy", "eV", extensive),
        references,
    )


def test_fit_finds_the_values_of_the_elements():
    composition = [[1, 1], [1, 8], [8, 8, 1], [6]]
    value = {1: -13.5, 6: -1000.0, 8: 20.0}
    y = [sum(value[z] for z in row) for row in composition]
    fitted = fit_references(molecules(y, composition))
    for z, e in value.items():
        assert fitted[z].item() == pytest.approx(e, rel=1e-9)
    assert fitted.count_nonzero() == 3


def test_fit_of_an_undetermined_composition_is_the_smallest():
    fitted = fit_references(
        molecules([4.0, 8.0], [[1, 1, 8, 8], [1, 1, 1, 1, 8, 8, 8, 8]])
    )
    assert fitted[[1, 8]].tolist() == pytest.approx([1.0, 1.0])


def test_choice_of_references():
    own, none = torch.ones(119), torch.zeros(119)
    y = [1.0, 2.0]
    assert choose_references(molecules(y, references=own)) == "fit"
    assert choose_references(molecules(y, references=own), "dataset") == "dataset"
    assert choose_references(molecules(y, references=none, extensive=False)) == "none"
    assert choose_references(molecules(y)) == "fit"
    assert choose_references(molecules(y, extensive=False)) == "none"
    assert choose_references(molecules(y, references=own), "none") == "none"
    assert choose_references(molecules(y, references=none), "fit") == "fit"
    with pytest.raises(ValueError, match="references"):
        choose_references(molecules(y), "some")
    with pytest.raises(ValueError, match="no references of its own"):
        choose_references(molecules(y), "dataset")


def test_median_and_deviation():
    found = target_statistics(molecules([1.0, 2.0, 3.0, 4.0, 100.0]), "none")
    assert (found.median, found.mad, found.mean) == (3.0, 1.0, 22.0)
    assert found.kind == "none"
    assert not found.references.any()


def test_references_are_subtracted_first():
    references = torch.zeros(119)
    references[1] = 10.0
    found = target_statistics(
        molecules([11.0, 22.0, 33.0], [[1], [1, 1], [1, 1, 1]], references), "dataset"
    )
    assert (found.median, found.mad, found.mean) == (2.0, 1.0, 22.0)
    assert found.kind == "dataset"


def test_mostly_equal_values_have_a_scale():
    assert target_statistics(molecules([0.0, 0.0, 0.0, 4.0]), "none").mad == 1.0


def test_references_that_explain_everything():
    with pytest.raises(ValueError, match=r"but for rounding: .* references 'none'"):
        target_statistics(load_g2("enthalpy").select(range(3)), "fit")


def test_constant_target():
    with pytest.raises(ValueError, match="nothing to learn"):
        target_statistics(molecules([2.0, 2.0]), "none")


def vectors(y, forces=None):
    y = torch.tensor(y)
    scalar = y.dim() == 1
    return Molecules(
        torch.ones(len(y)),
        torch.randn(len(y), 3),
        torch.ones(len(y)),
        y,
        [str(i) for i in range(len(y))],
        Target("some", "D", True, num_components=1 if scalar else 3),
        forces=None if forces is None else torch.tensor(forces),
    )


def test_vectors_are_scaled_only():
    """Their statistics do not change when the molecules turn."""
    y = [[1.0, 2.0, -3.0], [4.0, -5.0, 9.0]]
    found = target_statistics(vectors(y))
    assert (found.median, found.mad, found.kind) == (0.0, 3.0, "none")
    assert found.mean.tolist() == [2.5, -1.5, 3.0]
    assert found.mean.dtype == torch.float64
    assert not found.references.any()
    mostly_zero = [[0.0, 0.0, 6.0], [0.0, 0.0, 0.0]]
    assert target_statistics(vectors(mostly_zero)).mad == 1.0
    with pytest.raises(ValueError, match="some is a vector"):
        target_statistics(vectors(y), "fit")
    assert target_statistics(vectors(y), "none").kind == "none"


def test_force_scale():
    forces = [[1.0, -2.0, 3.0], [0.0, 0.0, -6.0]]
    found = target_statistics(vectors([1.0, 2.0], forces), "none")
    assert found.force_scale == 2.0
    assert found.mean.shape == ()
    assert target_statistics(vectors([1.0, 2.0]), "none").force_scale is None
    nothing = vectors([1.0, 2.0], [[0.0] * 3] * 2)
    assert target_statistics(nothing, "none").force_scale is None
