import pytest

from lieconv_pyg.neighbors import radius


@pytest.fixture(autouse=True)
def search(monkeypatch):
    """A search in clouds that are small enough to look at all pairs."""
    monkeypatch.setattr(radius, "FEW_SOURCES", 0)
