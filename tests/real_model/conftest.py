"""The servers of these tests, which start once: `make real-model` installs them."""

from collections.abc import Iterator

import pytest

from tests.real_model.servers import (
    ENVIRONMENT,
    WIRES,
    Site,
    Sites,
    Wire,
    serve,
)


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """All sites by kind and API."""
    if not (ENVIRONMENT / "model.gguf").exists():
        pytest.fail("no real model here: `make real-model` installs it")
    with serve(tmp_path_factory.mktemp("real-model")) as started:
        yield started


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each API of the model's server in turn."""
    name: Wire = request.param
    return name


@pytest.fixture
def short(sites: Sites, wire: Wire) -> Site:
    """A site whose responses end after a few tokens."""
    return sites["short", wire]


@pytest.fixture
def long(sites: Sites, wire: Wire) -> Site:
    """A site whose responses end when the context window is full."""
    return sites["long", wire]


@pytest.fixture
def tools(sites: Sites, wire: Wire) -> Site:
    """A site whose model calls the calculator and ends its responses."""
    return sites["tools", wire]
