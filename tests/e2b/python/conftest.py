import os
import time
from contextlib import contextmanager

import pytest

from face import Loop, Sdk
from raw import Raw
from servers import servers

LEFT_FOR_ALL = "left for --all"


def pytest_collection_modifyitems(items):
    """Without CASEMATE_LONG only the quick tests run; the report counts the rest as left."""
    if os.environ.get("CASEMATE_LONG") == "1":
        return
    for item in items:
        if not is_quick(item):
            item.add_marker(pytest.mark.skip(reason=LEFT_FOR_ALL))


def is_quick(item):
    """What is quick runs with the synchronous half of the SDK, and with both where it says so."""
    mark = item.get_closest_marker("quick")
    halves = (
        [item.callspec.params.get(name) for name in ("sdk", "small", "rooted")] if hasattr(item, "callspec") else []
    )
    return mark is not None and (mark.kwargs.get("both", False) or "async" not in halves)


@pytest.fixture(scope="session")
def all_servers():
    return servers()


@pytest.fixture(scope="session")
def server(all_servers):
    """The server with the default policy."""
    return all_servers["default"]


@pytest.fixture(scope="session")
def loop():
    return Loop()


@pytest.fixture(params=["sync", "async"])
def sdk(request, server, loop):
    """Either half of the SDK, with the default policy."""
    yield from bound(Sdk(request.param, server, loop))


@pytest.fixture
def plain(server, loop):
    """The synchronous half, for what does not depend on the half."""
    yield from bound(Sdk("sync", server, loop))


@pytest.fixture
def stranger(server, loop):
    """The synchronous half with another key."""
    yield from bound(Sdk("sync", server, loop, server.other_key))


@pytest.fixture(params=["sync", "async"])
def small(request, all_servers, loop):
    """Either half, with a policy whose limits are reached."""
    yield from bound(Sdk(request.param, all_servers["small"], loop))


@pytest.fixture(params=["sync", "async"])
def rooted(request, all_servers, loop):
    """Either half, with a policy that grants root inside."""
    yield from bound(Sdk(request.param, all_servers["rooted"], loop))


def bound(sdk):
    yield sdk
    sdk.end()


@pytest.fixture
def sandbox(sdk):
    return sdk.create()


@pytest.fixture
def one(plain):
    """A sandbox made by the synchronous half."""
    return plain.create()


@pytest.fixture
def raw(server):
    """Requests as bytes, for what no SDK sends."""
    with Raw(server) as raw:
        yield raw


@pytest.fixture
def refused():
    return refusal


@contextmanager
def refusal(kind, *words):
    """What is done within fails with exactly this class, and the message has these words."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind, f"{type(caught.value).__name__}: {caught.value}"
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def eventually():
    return wait_until


def wait_until(holds, seconds=5.0):
    """Waits until it holds; how long that took."""
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - start
