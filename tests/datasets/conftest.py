import pytest

from tests.qm9_files import made_up_qm9, real_qm9


@pytest.fixture(scope="session")
def qm9_folder(tmp_path_factory):
    return made_up_qm9(tmp_path_factory.mktemp("made_up") / "QM9")


@pytest.fixture(scope="session")
def real_qm9_folder(tmp_path_factory):
    return real_qm9(tmp_path_factory.mktemp("real") / "QM9", limit=500)
