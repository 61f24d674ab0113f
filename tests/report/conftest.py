import pytest

from stages.evaluate import main as evaluate
from tests.report.read_page import command


@pytest.fixture
def data(run):
    """A run with its `evaluate`, in the working directory."""
    command(evaluate, "evaluate.random_draws=3")
    return run
