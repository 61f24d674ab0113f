import pytest

from tests.exchange.small import with_guesses
from tests.label.small_set import small_set


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, with a small set, its pictures' digests, and guesses."""
    monkeypatch.chdir(tmp_path)
    small_set()
    with_guesses()
