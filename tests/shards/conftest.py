import pytest

from tests.shards.server import serving


@pytest.fixture
def server():
    with serving() as found:
        yield found
