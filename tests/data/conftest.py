import pytest

from tests.data.server import serving


@pytest.fixture
def server():
    with serving() as found:
        yield found
