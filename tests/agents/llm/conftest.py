"""The scripted server of the tests of language models, and the wire formats it speaks."""

import pytest

from tests.support.language_models import APIS
from tests.support.loopback import Loopback


@pytest.fixture(scope="module")
def server():
    """One server for all tests; each test first plays its own script."""
    with Loopback() as running:
        yield running


@pytest.fixture(params=list(APIS))
def api(request):
    """Each wire format in turn."""
    return request.param
