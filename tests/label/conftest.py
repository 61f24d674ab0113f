import pytest

from tests.label.small_set import FROM_FILE, refusal, small_set


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, with a small set."""
    monkeypatch.chdir(tmp_path)
    small_set()


@pytest.fixture
def _asked():
    """A run whose label stage asks for labels."""
    refusal(*FROM_FILE)
