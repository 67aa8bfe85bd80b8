"""What a key may do, and how much: the classes that the SDK has for it."""

import pytest
from e2b import RateLimitException, SandboxException, SandboxNotFoundException

from face import Sdk

quick = pytest.mark.quick


@pytest.fixture(params=["sync", "async"])
def half(request):
    return request.param


def with_key(half, server, loop, key):
    return Sdk(half, server, loop, getattr(server, key))


@quick
def test_an_auditor_sees_all_and_changes_nothing(half, one, server, loop, refused):
    auditor = with_key(half, server, loop, "auditor_key")
    assert one.sandbox_id in [found.sandbox_id for found in auditor.listed()]
    assert auditor.info(one.sandbox_id).sandbox_id == one.sandbox_id
    with refused(SandboxException, "403", "role.create"):
        auditor.create()
    with refused(SandboxException, "403", "role.end"):
        auditor.kill(one.sandbox_id)
    with refused(SandboxException, "403", "role.use"):
        auditor.set_timeout(one.sandbox_id, 60)
    with refused(SandboxException, "403", "role.use"):
        auditor.connect(one.sandbox_id)
    assert one.is_running() is True


@quick
def test_an_operator_ends_what_others_made_and_works_in_nothing(half, plain, server, loop, refused):
    operator, made = with_key(half, server, loop, "operator_key"), plain.create()
    with refused(SandboxException, "403", "role.use"):
        operator.connect(made.sandbox_id)
    with refused(SandboxException, "403", "role.create"):
        operator.create()
    assert operator.kill(made.sandbox_id) is True
    with refused(SandboxNotFoundException, made.sandbox_id):
        plain.info(made.sandbox_id)


@quick
def test_a_key_has_no_more_sandboxes_than_it_may(half, server, loop, refused):
    bounded = with_key(half, server, loop, "bounded_key")
    made = bounded.create()
    with refused(RateLimitException, "quota.sandboxes"):
        bounded.create()
    assert bounded.kill(made.sandbox_id) is True
    bounded.create()
    bounded.end()


@quick
def test_a_denial_says_what_is_allowed_in_the_body(server, raw):
    answer = raw.control("POST", "/v2/sandboxes", server.auditor_key, json={"templateID": "base"})
    said = answer.json()
    assert (answer.status_code, said["code"], said["denial"]["code"]) == (403, 403, "role")
    assert set(said["denial"]) == {"code", "rule", "asked", "nearest_allowed", "how_to_ask"}


@quick
def test_a_key_makes_sandboxes_no_faster_than_it_may(server, loop, raw, refused):
    slow = Sdk("sync", server, loop, server.slow_key)
    slow.create()
    with refused(RateLimitException, "quota.creates-per-second"):
        slow.create()
    answer = raw.control("POST", "/v2/sandboxes", server.slow_key, json={"templateID": "base"})
    assert (answer.status_code, answer.json()["denial"]["code"]) == (429, "quota")
    assert 1 <= int(answer.headers["retry-after"]) <= 1000
    slow.end()
