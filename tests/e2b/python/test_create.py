"""What creating a sandbox takes, and what it gives."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from e2b import AsyncSandbox, Sandbox, SandboxException, SandboxState

from raw import each, is_error

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)
SECOND = timedelta(seconds=1)

# What the SDK can ask for at a creation and this server refuses, with the name it has on the wire.
REFUSED = [
    ("auto", {"lifecycle": {"on_timeout": "pause"}}),
    ("auto", {"lifecycle": {"on_timeout": {"action": "pause", "mode": "filesystem"}}}),
    ("auto", {"lifecycle": {"on_timeout": "pause", "auto_resume": True}}),
    ("network", {"network": {"deny_out": ["10.0.0.0/8"]}}),
    ("network", {"network": {"allow_out": ["example.com"], "deny_out": ["0.0.0.0/0"]}}),
    ("network", {"network": {"rules": {"example.com": [{"transform": {"headers": {"a": "b"}}}]}}}),
    ("network", {"network": {"egress_proxy": {"address": "proxy.example.com:1080"}}}),
    ("network", {"network": {"dns_servers": ["1.1.1.1"]}}),
    ("network", {"network": {"allow_public_traffic": False}}),
    ("network", {"network": {"mask_request_host": "example.com"}}),
    ("network", {"network": {"https_ports": [3000]}}),
    ("iam", {"iam": {"tokens": {"a": {"audience": "b", "token_type": "JWT-SVID"}}}}),
    ("volumeMounts", {"volume_mounts": {"/data": "books"}}),
    ("mcp", {"template": "base", "mcp": {"time": {}}}),
]


def test_an_id_has_the_known_form(sandbox):
    assert re.fullmatch("i[a-z0-9]{20}", sandbox.sandbox_id)


@both
def test_the_details_are_those_of_request_and_policy(sdk):
    sandbox = sdk.create(timeout=120, metadata={"for": "details"})
    info = sdk.info(sandbox.sandbox_id)
    assert info.sandbox_id == sandbox.sandbox_id
    assert info.name == "base"
    assert info.metadata == {"for": "details"}
    assert info.state == SandboxState.RUNNING
    assert (info.cpu_count, info.memory_mb) == (2, 2048)
    assert info.envd_version == "0.6.13"
    assert abs(info.end_at - info.started_at - timedelta(seconds=120)) <= SECOND
    assert info.volume_mounts == []


def test_a_sandbox_lives_five_minutes_if_nothing_is_said(sdk):
    info = sdk.info(sdk.create().sandbox_id)
    assert abs(info.end_at - info.started_at - timedelta(seconds=300)) <= SECOND


@quick
def test_metadata_comes_back_as_it_was_given(sdk):
    metadata = {"plain": "x", "empty": "", "k y=&%41": 'v "1"&2=3', "größe": "日本 🦀", "line": "a\nb"}
    assert sdk.info(sdk.create(metadata=metadata).sandbox_id).metadata == metadata


@quick
def test_variables_of_a_sandbox_are_in_every_command(sdk):
    sandbox = sdk.create(envs={"GREETING": "good\nday 🦀", "OTHER": "kept"})
    said = sandbox.commands.run('printf %s "$GREETING|$OTHER"')
    assert said.stdout == "good\nday 🦀|kept"
    said = sandbox.commands.run('printf %s "$GREETING|$OTHER"', envs={"GREETING": "hello"})
    assert said.stdout == "hello|kept"


@quick
def test_an_unknown_template_is_not_found(sdk, refused):
    with refused(SandboxException, "404", "nosuchtemplate") as caught:
        sdk.create("nosuchtemplate")
    assert caught.value.status_code == 404


def test_the_default_template_can_be_named(sdk):
    assert sdk.create("base").commands.run("echo here").stdout == "here\n"


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_life_without_length_is_refused(sdk, refused, seconds):
    with refused(SandboxException, "400", "imeout") as caught:
        sdk.create(timeout=seconds)
    assert caught.value.status_code == 400


def test_a_life_past_all_bounds_is_refused(sdk, refused):
    with refused(SandboxException, "400", "imeout") as caught:
        sdk.create(timeout=1_000_000_000)
    assert caught.value.status_code == 400


@quick
def test_what_is_not_supported_is_refused_by_name(sdk, refused):
    def check(case):
        field, options = case
        with refused(SandboxException, "400", field) as caught:
            sdk.create(**options)
        assert caught.value.status_code == 400

    each(REFUSED, check)


@pytest.mark.parametrize("field", ["autoPause", "autoPauseMemory", "autoResume"])
def test_what_would_pause_is_refused_by_its_own_name(raw, field):
    value = {"enabled": True} if field == "autoResume" else True
    answer = raw.control("POST", "/v2/sandboxes", json={"templateID": "base", field: value})
    assert is_error(answer, 400, field)


def test_an_idempotency_key_is_refused_by_name(sdk, refused):
    with refused(SandboxException, "400", "dempotency"):
        sdk.create(idempotency_key="a-key-1")


def test_what_is_refused_starts_nothing(plain, refused):
    before = {found.sandbox_id for found in plain.listed(query=None)}
    with refused(SandboxException, "volumeMounts"):
        plain.create(volume_mounts={"/data": "books"}, metadata={"test": "starts nothing"})
    after = [found for found in plain.listed() if found.sandbox_id not in before]
    assert not [found for found in after if found.metadata.get("test") == "starts nothing"]


def test_an_end_by_kill_may_be_asked_for(sdk):
    assert sdk.create(lifecycle={"on_timeout": "kill"}).is_running()


def test_what_the_policy_gives_of_the_network_may_be_asked_for(sdk):
    assert sdk.create(allow_internet_access=True).is_running()


@pytest.mark.parametrize("secure", [True, False])
def test_every_sandbox_is_secured_whatever_is_asked_for(sdk, secure):
    assert sdk.create(secure=secure)._envd_access_token


def test_no_token_opens_two_sandboxes(sdk):
    assert sdk.create()._envd_access_token != sdk.create()._envd_access_token


def test_two_sandboxes_share_neither_files_nor_processes(sdk):
    first, second = sdk.create(), sdk.create()
    first.files.write("/tmp/mine", "mine")
    first.commands.run("exec sleep 4711", background=True, timeout=0)
    assert not second.files.exists("/tmp/mine")
    seen = second.commands.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert "4711" not in seen
    assert second.commands.list() == []


def test_a_sandbox_ends_with_its_block(server):
    with Sandbox.create(**server.options()) as sandbox:
        assert sandbox.is_running()
    assert not sandbox.is_running()


def test_an_asynchronous_sandbox_ends_with_its_block(server, loop):
    async def block():
        async with await AsyncSandbox.create(**server.options()) as sandbox:
            assert await sandbox.is_running()
        return await sandbox.is_running()

    assert not loop.wait(block())


def test_sandboxes_made_at_once_are_all_there(plain):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: plain.create(metadata={"number": str(number)}), range(8)))
    assert len({sandbox.sandbox_id for sandbox in made}) == 8
    for number, sandbox in enumerate(made):
        assert sandbox.commands.run(f"echo {number}").stdout == f"{number}\n"
        assert plain.info(sandbox.sandbox_id).metadata == {"number": str(number)}


def test_everything_at_once_does_not_mix(server, loop):
    async def day(number):
        async with await AsyncSandbox.create(**server.options()) as sandbox:
            await sandbox.files.write("number", str(number))
            said = await asyncio.gather(*(sandbox.commands.run(f"echo {n} $(cat number)") for n in range(5)))
            return [one.stdout for one in said], await sandbox.files.read("number")

    async def all_days():
        return await asyncio.gather(*(day(number) for number in range(12)))

    for number, (said, read) in enumerate(loop.wait(all_days())):
        assert said == [f"{n} {number}\n" for n in range(5)]
        assert read == str(number)


def test_the_environment_is_enough_to_find_the_server(server, loop, monkeypatch):
    monkeypatch.setenv("E2B_API_URL", server.url)
    monkeypatch.setenv("E2B_SANDBOX_URL", server.url)
    monkeypatch.setenv("E2B_API_KEY", server.key)
    with Sandbox.create() as sandbox:
        assert sandbox.commands.run("echo found").stdout == "found\n"

    async def found():
        async with await AsyncSandbox.create() as sandbox:
            return (await sandbox.commands.run("echo found")).stdout

    assert loop.wait(found()) == "found\n"


# The route of older SDKs.


@quick
def test_the_first_route_gives_the_same_object(plain, raw):
    answer = raw.control("POST", "/sandboxes", json={"templateID": "base", "secure": True})
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch("i[a-z0-9]{20}", made["sandboxID"])
    assert made["envdVersion"] == "0.6.13" and made["alias"] == "base"
    assert {"templateID", "clientID", "envdAccessToken"} <= set(made)
    assert made.get("trafficAccessToken") is None
    assert plain.connect(made["sandboxID"]).commands.run("echo old").stdout == "old\n"
    assert plain.kill(made["sandboxID"])


def test_the_first_route_gives_fifteen_seconds_if_nothing_is_said(plain, raw):
    made = raw.control("POST", "/sandboxes", json={"templateID": "base"}).json()
    info = plain.info(made["sandboxID"])
    assert abs(info.end_at - info.started_at - timedelta(seconds=15)) <= SECOND
    assert plain.kill(made["sandboxID"])


@pytest.mark.parametrize("route", ["/sandboxes", "/v2/sandboxes"])
def test_both_routes_refuse_a_field_nobody_knows(raw, route):
    answer = raw.control("POST", route, json={"templateID": "base", "surprise": 1})
    assert is_error(answer, 400, "surprise")


@pytest.mark.parametrize("route", ["/sandboxes", "/v2/sandboxes"])
def test_both_routes_need_a_template(raw, route):
    assert is_error(raw.control("POST", route, json={"timeout": 5}), 400, "templateID")
