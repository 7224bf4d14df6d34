"""Groups by name."""

import pytest

from lieconv_pyg.groups import (
    SE2,
    SE3,
    SIM2,
    SO2,
    SO3,
    SQ,
    Galilei,
    Lorentz,
    Rx,
    RxSO2,
    RxSQ,
    T,
    Trivial,
    Tx,
    Ty,
    group_resolver,
)


@pytest.mark.parametrize(
    ("query", "kwargs", "expected"),
    [
        ("SE3", {}, SE3()),
        ("SE(3)", {"alpha": 0.1}, SE3(alpha=0.1)),
        ("se2", {}, SE2()),
        ("SO2", {}, SO2()),
        ("SO(3)", {}, SO3()),
        ("SIM2", {"window": 1.5}, SIM2(window=1.5)),
        ("sim(2)", {}, SIM2()),
        ("Galilei2", {}, Galilei(2)),
        ("galilei(3)", {"alpha": 0.5}, Galilei(3, alpha=0.5)),
        ("RxSO2", {}, RxSO2()),
        ("RxSO(2)", {}, RxSO2()),
        ("Rx", {}, Rx()),
        ("SQ", {}, SQ()),
        ("RxSQ", {}, RxSQ()),
        ("T3", {}, T(3)),
        ("T(3)", {"alpha": 0.4}, T(3, alpha=0.4)),
        (" t( 12 ) ", {}, T(12)),
        ("T", {"n": 2}, T(2)),
        ("Trivial2", {}, Trivial(2)),
        ("Trivial(3)", {}, Trivial(3)),
        ("Tx", {}, Tx()),
        ("Ty(3)", {}, Ty(3)),
        ("Lorentz", {"alpha": 0.3, "beta": 0.1}, Lorentz(0.3, 0.1)),
        (SE3, {"alpha": 0.3}, SE3(alpha=0.3)),
        (SE3(alpha=0.3), {}, SE3(alpha=0.3)),
    ],
)
def test_resolver(query, kwargs, expected):
    group = group_resolver(query, **kwargs)
    assert group == expected
    if group is not query:
        assert group_resolver(group) is group


def test_repr_resolves(group):
    text = repr(group)
    if "=" not in text:
        assert group_resolver(text) == group


@pytest.mark.parametrize("query", ["SE4", "", "T(-1)", "Tz", "SO", "E(3)"])
def test_unknown_names(query):
    with pytest.raises(ValueError, match="is unknown: choose one of SO2, RxSO2"):
        group_resolver(query)


def test_wrong_arguments():
    with pytest.raises(
        TypeError, match="must be a name, a class or a LieGroup, got int"
    ):
        group_resolver(3)
    with pytest.raises(TypeError, match="must be a name, a class or a LieGroup"):
        group_resolver(int)
    with pytest.raises(ValueError, match=r"`kwargs` .'alpha'. cannot be used"):
        group_resolver(SE3(), alpha=0.3)
    with pytest.raises((ValueError, TypeError), match="'n' must be"):
        group_resolver("T0")
    with pytest.raises(TypeError):
        group_resolver("T")
    with pytest.raises(TypeError):
        group_resolver("SE3", beta=1)
