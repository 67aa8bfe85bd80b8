"""The way to a sandbox as bytes: routing, tokens, Connect's frames."""

import json
import struct
import threading
import time

import httpx
import pytest

from raw import (
    END_OF_STREAM,
    bash,
    each,
    ended_with,
    events,
    frame,
    frames,
    is_connect_error,
    is_error,
    output,
    routing,
)

quick = pytest.mark.quick
LIST = "process.Process/List"
START = "process.Process/Start"
STAT = "filesystem.Filesystem/Stat"

PROCEDURES = [
    LIST,
    "process.Process/SendInput",
    "process.Process/CloseStdin",
    "process.Process/SendSignal",
    "process.Process/Update",
    STAT,
    "filesystem.Filesystem/ListDir",
    "filesystem.Filesystem/MakeDir",
    "filesystem.Filesystem/Move",
    "filesystem.Filesystem/Remove",
]


# Who is reached.


@quick
def test_a_sandbox_that_is_not_there_answers_as_its_proxy_would(one, raw):
    one.kill()
    for method, path in [("GET", "/health"), ("GET", "/files?path=/x"), ("POST", f"/{LIST}"), ("POST", f"/{START}")]:
        answer = raw.data(one, method, path, content=b"" if method == "POST" else None)
        assert answer.status_code == 502, path
        assert answer.headers["content-type"].split(";")[0] == "application/json"
        assert answer.json() == {"sandboxId": one.sandbox_id, "message": "The sandbox was not found", "code": 502}


def test_what_never_was_answers_the_same(raw):
    headers = {"E2b-Sandbox-Id": "i0123456789abcdefghij", "E2b-Sandbox-Port": "49983"}
    answer = raw.http.get("/health", headers=headers)
    assert answer.status_code == 502
    assert answer.json() == {"sandboxId": "i0123456789abcdefghij", "message": "The sandbox was not found", "code": 502}


def test_another_port_is_not_open(one, raw):
    answer = raw.http.get("/", headers={**routing(one, None), "E2b-Sandbox-Port": "8080"})
    assert answer.status_code == 502
    told = {
        "sandboxId": one.sandbox_id,
        "message": "The sandbox is running but port is not open",
        "port": 8080,
        "code": 502,
    }
    assert told.items() <= answer.json().items()


@quick
@pytest.mark.parametrize("left", ["E2b-Sandbox-Id", "E2b-Sandbox-Port"])
def test_one_routing_header_alone_is_refused(one, raw, left):
    headers = {left: routing(one, None)[left], "X-Access-Token": one._envd_access_token}
    for path in ("/health", "/files?path=/etc/passwd", "/v2/sandboxes"):
        assert raw.http.get(path, headers=headers).status_code == 400, path


@pytest.mark.parametrize("port", ["", "x", "0", "65536", "-1", "49983x", "99999999999999999999"])
def test_a_port_that_is_none_is_refused(one, raw, port):
    answer = raw.http.get("/health", headers={**routing(one, None), "E2b-Sandbox-Port": port})
    assert answer.status_code == 400


@pytest.mark.parametrize("bad", ["", "UPPER", "a/b", "../..", "a b", "x" * 5000])
def test_an_id_that_is_none_is_refused(one, raw, bad):
    answer = raw.http.get("/health", headers={**routing(one, None), "E2b-Sandbox-Id": bad})
    assert answer.status_code == 400


def test_the_routing_headers_may_be_written_in_any_case(one, raw):
    headers = {name.upper(): value for name, value in routing(one, None).items()}
    assert raw.http.get("/health", headers=headers).status_code == 204


@pytest.mark.parametrize("domain", ["localhost:8443", "example.com", "sandboxes.example.com"])
def test_the_first_label_of_the_host_leads_to_a_sandbox_too(one, raw, domain):
    name = one.sandbox_id
    for label in (f"49983-{name}", f"49983-{name}-abcdef12", f"49983-{name.upper()}"):
        assert raw.http.get("/health", headers={"Host": f"{label}.{domain}"}).status_code == 204
    assert raw.http.get("/", headers={"Host": f"8080-{name}.{domain}"}).json()["port"] == 8080
    assert raw.http.get("/health", headers={"Host": f"49983-i{20 * '0'}.{domain}"}).status_code == 502
    # No token comes with a name.
    headers = {"Host": f"49983-{name}.{domain}", "Content-Type": "application/json"}
    assert raw.http.post(f"/{LIST}", content=b"{}", headers=headers).status_code == 401


def test_a_host_and_headers_that_contradict_are_refused(plain, raw):
    first, second = plain.create(), plain.create()
    headers = {**routing(first, None), "Host": f"49983-{second.sandbox_id}.localhost"}
    assert raw.http.get("/health", headers=headers).status_code == 400


# Whose it is.


def test_health_is_told_to_everybody(one, raw):
    answer = raw.data(one, "GET", "/health", token="")
    assert (answer.status_code, answer.content) == (204, b"")


@quick
@pytest.mark.parametrize("token", ["", "wrong", "e2b_" + 40 * "0"])
def test_no_procedure_opens_without_the_token(one, raw, token):
    for procedure in PROCEDURES:
        assert raw.unary(one, procedure, {}, token=token).status_code == 401, procedure
    for procedure in (START, "process.Process/Connect"):
        answer = raw.data(one, "POST", f"/{procedure}", token=token, content=frame(bash("true")),
                          headers={"Content-Type": "application/connect+json"})  # fmt: skip
        assert answer.status_code == 401, procedure
    for method in ("GET", "POST"):
        assert raw.data(one, method, "/files?path=/tmp/x", token=token).status_code == 401


def test_the_key_of_the_server_is_no_token(one, raw, server):
    answer = raw.unary(one, LIST, {}, token=server.key)
    assert answer.status_code == 401
    assert is_error(answer, 401)


@pytest.mark.parametrize("path", ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade"])
def test_what_is_internal_is_not_there(one, raw, path):
    assert raw.data(one, "POST", path, json={}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [("GET", "/metrics", "metrics"), ("GET", "/envs", "variables"), ("POST", "/files/compose", "compos")],
)
def test_what_is_not_served_is_refused_by_name(one, raw, method, path, word):
    assert is_error(raw.data(one, method, path), 501, word)


def test_a_page_of_another_origin_may_ask(one, raw):
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    answer = raw.data(one, "OPTIONS", f"/{LIST}", token="", headers=headers)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"


# Unary procedures.


def test_a_procedure_answers_in_json(one, raw):
    answer = raw.unary(one, STAT, {"path": "/home/user"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    entry = answer.json()["entry"]
    assert (entry["name"], entry["type"], entry["path"]) == ("user", "FILE_TYPE_DIRECTORY", "/home/user")
    # 64 bits are a decimal string, a time is RFC 3339.
    assert entry["size"].isdigit() and entry["modifiedTime"].endswith("Z")


@quick
def test_an_error_has_the_status_of_its_code(one, raw):
    def check(case):
        procedure, message, status, code = case
        assert is_connect_error(raw.unary(one, procedure, message), status, code)

    errors = [
        (STAT, {"path": "/no/such"}, 404, "not_found"),
        ("filesystem.Filesystem/MakeDir", {"path": "/tmp"}, 409, "already_exists"),
        ("filesystem.Filesystem/ListDir", {"path": "/etc/passwd"}, 400, "invalid_argument"),
        ("filesystem.Filesystem/Move", {"source": "/no/such", "destination": "/tmp/x"}, 404, "not_found"),
        ("process.Process/SendSignal", {"process": {"pid": 4000000}, "signal": 9}, 404, "not_found"),
        ("process.Process/SendInput", {"process": {"pid": 4000000}, "input": {"stdin": ""}}, 404, "not_found"),
        (
            "process.Process/Update",
            {"process": {"pid": 4000000}, "pty": {"size": {"cols": 1, "rows": 1}}},
            404,
            "not_found",
        ),
        ("process.Process/SendSignal", {"signal": 9}, 400, "invalid_argument"),
    ]
    each(errors, check)


def test_a_message_that_is_none_is_refused(one, raw):
    messages = [b"{", b"[]", b"\xff", b'{"path":5}', b'{"path":"a"} x', b'{"path":["a"]}', b'["/etc"]']
    each(messages, lambda message: is_connect_error(raw.unary(one, STAT, message), 400, "invalid_argument"))


def test_names_are_read_in_both_forms_and_unknown_ones_passed_over(one, raw):
    message = {"path": "/tmp", "depth": "1", "somethingNew": {"a": [1]}}
    assert raw.unary(one, "filesystem.Filesystem/ListDir", message).status_code == 200
    _, stream = raw.stream(one, START, {**bash("echo ok"), "something_new": 1})
    assert output(stream) == b"ok\n"


def test_an_unset_field_is_left_out(one, raw):
    one.files.write("/tmp/e", "")
    entry = raw.unary(one, STAT, {"path": "/tmp/e"}).json()["entry"]
    assert not {"size", "symlinkTarget", "metadata", "isSymlink"} & set(entry)


@pytest.mark.parametrize("procedure", ["process.Process/Nothing", "nothing.Nothing/List"])
def test_a_procedure_nobody_knows_is_not_there(one, raw, procedure):
    assert raw.unary(one, procedure, {}).status_code in (404, 501)


@pytest.mark.parametrize("procedure", ["process.Process/StreamInput", "filesystem.Filesystem/WatchDir"])
def test_a_stream_that_is_not_served_is_refused_by_name(one, raw, procedure):
    answer, stream = raw.stream(one, procedure, {})
    assert answer.status_code == 200
    error = ended_with(stream)["error"]
    assert error["code"] == "unimplemented" and procedure in error["message"]


def test_a_procedure_is_asked_for_by_post_alone(one, raw):
    assert raw.data(one, "GET", f"/{LIST}").status_code == 405


@pytest.mark.parametrize("kind", ["text/plain", "application/proto", "application/connect+json", ""])
def test_another_encoding_is_refused(one, raw, kind):
    answer = raw.unary(one, LIST, {}, headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("time", ["soon", "-1", "1.5", "99999999999999999999"])
def test_a_time_that_is_none_is_refused(one, raw, time):
    _, stream = raw.stream(one, START, bash("true"), headers={"Connect-Timeout-Ms": time})
    assert len(stream) == 1
    assert ended_with(stream)["error"]["code"] == "invalid_argument"


# Streams.


def test_an_error_before_the_first_message_ends_the_stream(one, raw):
    answer, stream = raw.stream(one, START, bash("true", process={"cwd": "/no/such"}))
    assert answer.status_code == 200
    assert len(stream) == 1
    error = ended_with(stream)["error"]
    assert (error["code"], error["message"]) == ("invalid_argument", "cwd '/no/such' does not exist")
    _, stream = raw.stream(one, "process.Process/Connect", {"process": {"pid": 4000000}})
    assert ended_with(stream)["error"]["code"] == "not_found"


@quick
def test_frames_that_are_none_are_refused(one, raw):
    def check(body):
        headers = {"Content-Type": "application/connect+json"}
        answer = raw.data(one, "POST", f"/{START}", content=body, headers=headers)
        if answer.status_code == 200:
            assert "error" in ended_with(frames(answer.content))
        else:
            assert 400 <= answer.status_code < 500
        assert one.commands.list() == []

    bodies = [
        b"",
        b"\0\0",
        frame(b"{"),
        frame({})[:-1],
        frame({}) + frame({}),
        frame(bash("true"), flags=1),
        frame(bash("true"), flags=2),
        frame(bash("true"), flags=0x80),
        struct.pack(">BI", 0, 0xFFFFFFFF) + b"{}",
        json.dumps(bash("true")).encode(),
    ]
    each(bodies, check)


def test_a_message_without_bound_is_refused(one, raw):
    message = bash("true", process={"envs": {"A": "x" * (64 << 20)}})
    headers = {"Content-Type": "application/connect+json"}
    try:
        answer = raw.data(one, "POST", f"/{START}", content=frame(message), headers=headers)
        assert answer.status_code in (200, 400, 413, 429)
        if answer.status_code == 200:
            assert ended_with(frames(answer.content))["error"]["code"] == "resource_exhausted"
    except httpx.WriteError:
        # Refused while it was being sent.
        pass
    assert one.commands.run("echo fine").stdout == "fine\n"


def test_a_stream_is_not_compressed(one, raw):
    headers = {"Accept-Encoding": "zstd, gzip, br", "Connect-Accept-Encoding": "gzip"}
    answer, stream = raw.stream(one, START, bash("seq 10000"), headers=headers)
    assert "content-encoding" not in answer.headers and "connect-content-encoding" not in answer.headers
    assert {flags for flags, _ in stream} == {0, END_OF_STREAM}


def test_a_stream_of_a_request_may_come_in_pieces(one, raw):
    def pieces():
        for byte in frame(bash("echo pieces")):
            yield bytes([byte])

    headers = {"Content-Type": "application/connect+json"}
    answer = raw.data(one, "POST", f"/{START}", content=pieces(), headers=headers)
    assert output(frames(answer.content)) == b"pieces\n"


def test_a_stream_is_told_of_the_end_of_its_sandbox(one, raw):
    threading.Timer(0.5, one.kill).start()
    start = time.monotonic()
    try:
        _, stream = raw.stream(one, START, bash("sleep 60"))
        assert ended_with(stream)["error"]["code"] == "unavailable"
        assert list(events(stream)[0]) == ["start"]
    except httpx.RemoteProtocolError:
        # Cut off is as good.
        pass
    assert time.monotonic() - start < 5


def test_a_reader_who_does_not_read_holds_nobody_up(one, raw):
    with raw.opened(one, START, bash("yes | head -c 200000000")) as answer:
        next(answer.iter_raw())
        start = time.monotonic()
        assert one.commands.run("echo other").stdout == "other\n"
        assert raw.unary(one, LIST, {}).status_code == 200
        assert time.monotonic() - start < 5
    assert one.commands.run("echo after").stdout == "after\n"
