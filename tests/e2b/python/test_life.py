"""From connecting to the end: by kill, by time, and who may see a sandbox at all."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from e2b import AuthenticationException, Sandbox, SandboxException, SandboxNotFoundException, SandboxNotRunningException

from raw import each, is_error

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)
SECOND = timedelta(seconds=1)


def now():
    return datetime.now(timezone.utc)


def test_a_kill_ends_it_once(sdk, sandbox):
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    assert sdk.kill(sandbox.sandbox_id) is False


def test_what_never_was_cannot_be_killed(sdk):
    assert sdk.kill("nonexistingsandbox") is False
    assert sdk.kill("i" + 20 * "0") is False


def test_an_id_with_the_old_suffix_is_understood(sdk, sandbox):
    assert sdk.info(f"{sandbox.sandbox_id}-abcdef12").sandbox_id == sandbox.sandbox_id
    assert sdk.kill(f"{sandbox.sandbox_id}-abcdef12") is True


@both
def test_a_killed_sandbox_is_told_apart_from_a_broken_one(sdk, sandbox, refused):
    assert sandbox.is_running() is True
    sandbox.kill()
    assert sandbox.is_running() is False
    with refused(SandboxNotFoundException, sandbox.sandbox_id):
        sdk.info(sandbox.sandbox_id)
    with refused(SandboxNotFoundException, sandbox.sandbox_id):
        sdk.connect(sandbox.sandbox_id)
    with refused(SandboxNotFoundException, sandbox.sandbox_id):
        sandbox.set_timeout(10)
    with refused(SandboxNotRunningException, "was not found"):
        sandbox.commands.run("true")
    with refused(SandboxNotRunningException, "was not found"):
        sandbox.files.read("/etc/passwd")
    with refused(SandboxNotRunningException, "was not found"):
        sandbox.files.list("/")


@quick
def test_a_command_learns_that_its_sandbox_was_killed(sandbox, refused):
    command = sandbox.commands.run("sleep 60", background=True)
    sandbox.kill()
    start = time.monotonic()
    with refused(SandboxNotRunningException, "sandbox was killed or reached its end of life"):
        command.wait()
    assert time.monotonic() - start < 5


# Connecting.


@quick
def test_connecting_gives_the_same_sandbox_and_token(sdk, sandbox):
    sandbox.files.write("/tmp/note", "still here")
    again = sdk.connect(sandbox.sandbox_id)
    assert again.sandbox_id == sandbox.sandbox_id
    assert again._envd_access_token == sandbox._envd_access_token
    assert again.files.read("/tmp/note") == "still here"


def test_connecting_never_shortens_a_life(sdk):
    sandbox = sdk.create(timeout=200)
    end = sdk.info(sandbox.sandbox_id).end_at
    sdk.connect(sandbox.sandbox_id, timeout=10)
    assert sdk.info(sandbox.sandbox_id).end_at == end
    sdk.connect(sandbox.sandbox_id, timeout=900)
    assert abs(sdk.info(sandbox.sandbox_id).end_at - now() - timedelta(seconds=900)) <= 2 * SECOND


def test_what_runs_is_not_rebooted_by_connecting(sdk, sandbox):
    command = sandbox.commands.run("exec sleep 60", background=True)
    again = sdk.connect(sandbox.sandbox_id, on_resume="reboot")
    assert [process.pid for process in again.commands.list()] == [command.pid]


def test_connecting_by_the_instance_works_too(sandbox):
    assert sandbox.connect(timeout=400).sandbox_id == sandbox.sandbox_id


def test_what_never_was_cannot_be_connected_to(sdk, refused):
    with refused(SandboxNotFoundException, "nonexistingsandbox"):
        sdk.connect("nonexistingsandbox")


@pytest.mark.parametrize("route", ["/sandboxes/{}/connect", "/v2/sandboxes/{}/connect"])
def test_both_routes_connect(one, raw, route):
    answer = raw.control("POST", route.format(one.sandbox_id), json={"timeout": 30})
    assert answer.status_code == 200
    assert answer.json()["sandboxID"] == one.sandbox_id
    assert answer.json()["envdAccessToken"] == one._envd_access_token


def test_the_second_route_connects_without_a_timeout(one, raw):
    assert raw.control("POST", f"/v2/sandboxes/{one.sandbox_id}/connect", json={}).status_code == 200


def test_the_first_route_needs_a_timeout_to_connect(one, raw):
    answer = raw.control("POST", f"/sandboxes/{one.sandbox_id}/connect", json={})
    assert is_error(answer, 400, "timeout")


def test_what_runs_cannot_be_resumed(one, raw):
    answer = raw.control("POST", f"/sandboxes/{one.sandbox_id}/resume", json={"timeout": 30})
    assert is_error(answer, 409, one.sandbox_id)


# Time.


@quick
def test_a_sandbox_ends_within_a_second_of_its_time(sdk, refused):
    sandbox = sdk.create(timeout=2)
    end = sdk.info(sandbox.sandbox_id).end_at
    time.sleep(max(0.0, (end - now()).total_seconds() - 0.4))
    assert now() >= end or sandbox.is_running() is True
    time.sleep(max(0.0, (end + SECOND - now()).total_seconds()))
    assert sandbox.is_running() is False
    with refused(SandboxNotFoundException):
        sdk.info(sandbox.sandbox_id)


def test_a_command_learns_that_the_time_of_its_sandbox_is_over(sdk, refused):
    sandbox = sdk.create(timeout=2)
    start = time.monotonic()
    command = sandbox.commands.run("sleep 60", background=True)
    with refused(SandboxNotRunningException, "sandbox was killed or reached its end of life"):
        command.wait()
    assert 1 < time.monotonic() - start < 8


@quick
def test_a_new_timeout_counts_from_now(sdk, sandbox):
    for seconds in (1000, 40):
        sandbox.set_timeout(seconds)
        end = sdk.info(sandbox.sandbox_id).end_at
        assert abs(end - now() - timedelta(seconds=seconds)) <= 2 * SECOND


def test_a_shorter_timeout_ends_it_sooner(sdk, sandbox):
    sandbox.set_timeout(1)
    time.sleep(2.1)
    assert sandbox.is_running() is False


def test_a_longer_timeout_keeps_it(sdk):
    sandbox = sdk.create(timeout=2)
    sandbox.set_timeout(60)
    time.sleep(3.2)
    assert sandbox.is_running() is True
    assert sandbox.commands.run("echo alive").stdout == "alive\n"


def test_a_timeout_of_nothing_ends_it_now(sandbox, eventually):
    sandbox.set_timeout(0)
    assert eventually(lambda: not sandbox.is_running()) < 1.5


def test_what_never_was_has_no_timeout(sdk, refused):
    with refused(SandboxNotFoundException, "nonexistingsandbox"):
        sdk.set_timeout("nonexistingsandbox", 60)


def test_a_timeout_past_all_bounds_is_refused(sdk, sandbox, refused):
    end = sdk.info(sandbox.sandbox_id).end_at
    with refused(SandboxException, "400"):
        sandbox.set_timeout(1_000_000_000)
    assert sdk.info(sandbox.sandbox_id).end_at == end


def test_a_policy_bounds_every_life(small, refused):
    with refused(SandboxException, "400", "imeout"):
        small.create(timeout=3600)


def test_what_is_not_said_is_no_longer_than_the_policy_allows(small):
    info = small.info(small.create().sandbox_id)
    assert abs(info.end_at - info.started_at - timedelta(seconds=120)) <= SECOND


def test_a_refresh_keeps_it_alive_and_never_shortens(plain, raw):
    sandbox = plain.create(timeout=100)
    path = f"/sandboxes/{sandbox.sandbox_id}/refreshes"
    end = plain.info(sandbox.sandbox_id).end_at
    assert raw.control("POST", path, json={"duration": 10}).status_code == 204
    assert plain.info(sandbox.sandbox_id).end_at == end
    assert raw.control("POST", path, json={"duration": 500}).status_code == 204
    assert abs(plain.info(sandbox.sandbox_id).end_at - now() - timedelta(seconds=500)) <= 2 * SECOND


def test_a_refresh_longer_than_an_hour_is_refused(one, raw):
    answer = raw.control("POST", f"/sandboxes/{one.sandbox_id}/refreshes", json={"duration": 3601})
    assert is_error(answer, 400, "duration")


# Whose it is.


@quick
def test_what_another_key_made_is_not_found(one, stranger, refused):
    with refused(SandboxNotFoundException, one.sandbox_id):
        stranger.info(one.sandbox_id)
    with refused(SandboxNotFoundException, one.sandbox_id):
        stranger.connect(one.sandbox_id)
    with refused(SandboxNotFoundException, one.sandbox_id):
        stranger.set_timeout(one.sandbox_id, 1)
    assert stranger.kill(one.sandbox_id) is False
    assert one.sandbox_id not in [found.sandbox_id for found in stranger.listed()]
    assert one.is_running() is True


def test_a_key_that_is_none_is_told_so(sdk, server, refused):
    options = {**server.options(), "api_key": "e2b_" + 40 * "0"}
    with refused(AuthenticationException, "401"):
        sdk.sandbox.create(**options)
    with refused(AuthenticationException, "401"):
        sdk.sandbox.list(**options).next_items()
    with refused(AuthenticationException, "401"):
        sdk.sandbox.kill("nonexistingsandbox", **options)


def test_a_token_of_another_sandbox_opens_nothing(plain, raw):
    mine, other = plain.create(), plain.create()
    for token in (other._envd_access_token, "wrong", ""):
        answer = raw.unary(mine, "process.Process/List", {}, token=token)
        assert answer.status_code == 401, answer.text


def test_the_id_of_another_sandbox_leads_nowhere_with_a_token(plain, refused, server):
    mine, other = plain.create(), plain.create()
    stolen = Sandbox(
        sandbox_id=other.sandbox_id,
        sandbox_domain=None,
        envd_version=mine._envd_version,
        envd_access_token=mine._envd_access_token,
        traffic_access_token=None,
        connection_config=mine.connection_config.__class__(
            extra_sandbox_headers={
                "E2b-Sandbox-Id": other.sandbox_id,
                "E2b-Sandbox-Port": "49983",
                "X-Access-Token": mine._envd_access_token,
            },
            **server.options(),
        ),
    )
    with refused(AuthenticationException):
        stolen.commands.run("true")
    with refused(AuthenticationException):
        stolen.files.read("/etc/passwd")


# What an SDK can ask of a living sandbox and this server refuses.


@quick
def test_what_a_sandbox_cannot_do_is_refused_by_name(sandbox, refused):
    def check(case):
        name, ask = case
        with refused(SandboxException, "501", name) as caught:
            ask()
        assert caught.value.status_code == 501
        assert sandbox.is_running() is True

    asked = [
        ("paus", sandbox.pause),
        ("fork", sandbox.fork),
        ("snapshot", sandbox.create_snapshot),
        ("metrics", sandbox.get_metrics),
        ("network", lambda: sandbox.update_network({})),
    ]
    each(asked, check)
