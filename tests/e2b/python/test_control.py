"""The control plane as bytes: keys, bodies, routes, and the shape of every refusal."""

import json

import pytest

from raw import each, is_error

quick = pytest.mark.quick

ID = "i0123456789abcdefghij"
BUILD = "00000000-0000-4000-8000-000000000000"
HASH = 64 * "0"

# Every route that this server serves: method, path, body.
SERVED = [
    ("POST", "/v2/sandboxes", {"templateID": "base"}),
    ("POST", "/sandboxes", {"templateID": "base"}),
    ("GET", "/v2/sandboxes", None),
    ("GET", "/sandboxes", None),
    ("GET", "/sandboxes/{id}", None),
    ("DELETE", "/sandboxes/{id}", None),
    ("POST", "/v2/sandboxes/{id}/connect", {"timeout": 60}),
    ("POST", "/sandboxes/{id}/connect", {"timeout": 60}),
    ("POST", "/sandboxes/{id}/timeout", {"timeout": 60}),
    ("POST", "/sandboxes/{id}/refreshes", {"duration": 60}),
    ("POST", "/sandboxes/{id}/resume", {"timeout": 60}),
]
OF_A_SANDBOX = [route for route in SERVED if "{id}" in route[1]]

# Every route that an SDK or the CLI may ask for and this server does not serve, with the word it is refused by.
REFUSED = [
    ("POST", "/sandboxes/{id}/pause", {}, "paus"),
    ("POST", "/sandboxes/{id}/fork", {}, "fork"),
    ("PUT", "/sandboxes/{id}/network", {}, "network"),
    ("POST", "/sandboxes/{id}/snapshots", {}, "snapshot"),
    ("GET", "/snapshots", None, "snapshot"),
    ("GET", "/sandboxes/{id}/metrics", None, "metrics"),
    ("GET", "/sandboxes/metrics?sandbox_ids={id}", None, "metrics"),
    ("GET", "/sandboxes/{id}/logs", None, "logs"),
    ("GET", "/v2/sandboxes/{id}/logs", None, "logs"),
    ("POST", "/v3/templates", {"name": "mine"}, "template"),
    ("GET", f"/templates/mine/files/{HASH}", None, "template"),
    ("POST", f"/v2/templates/mine/builds/{BUILD}", {}, "template"),
    ("GET", f"/templates/mine/builds/{BUILD}/status", None, "template"),
    ("GET", f"/templates/mine/builds/{BUILD}/logs", None, "template"),
    ("GET", "/templates/aliases/mine", None, "template"),
    ("POST", "/templates/tags", {"target": "mine:a", "tags": ["b"]}, "template"),
    ("DELETE", "/templates/tags", {"name": "mine", "tags": ["b"]}, "template"),
    ("GET", "/templates/mine/tags", None, "template"),
    ("GET", "/templates/mine/tags/count", None, "template"),
    ("GET", "/templates", None, "template"),
    ("GET", "/v2/templates", None, "template"),
    ("GET", "/default-templates", None, "template"),
    ("GET", "/templates/mine", None, "template"),
    ("PATCH", "/v2/templates/mine", {"public": True}, "template"),
    ("PATCH", "/templates/mine", {"public": True}, "template"),
    ("DELETE", "/templates/mine%3Atag", None, "template"),
    ("GET", "/volumes", None, "volume"),
    ("POST", "/volumes", {"name": "books"}, "volume"),
    ("GET", "/volumes/books", None, "volume"),
    ("DELETE", "/volumes/books", None, "volume"),
    ("GET", "/volumecontent/books/dir?path=/", None, "volume"),
    ("PUT", "/volumecontent/books/file?path=/a", None, "volume"),
    ("GET", "/secrets", None, "secret"),
    ("POST", "/secrets", {"name": "a", "value": "b"}, "secret"),
    ("GET", "/secrets/a", None, "secret"),
    ("POST", "/secrets/a", {"value": "b"}, "secret"),
    ("DELETE", "/secrets/a", None, "secret"),
    ("GET", "/teams", None, "team"),
    ("GET", "/events/sandboxes", None, "event"),
    ("POST", "/events/webhooks", {}, "webhook"),
]


def ask(raw, route, sandbox_id=ID, **options):
    method, path, body = route[:3]
    if body is not None:
        options["json"] = body
    return raw.control(method, path.replace("{id}", sandbox_id), **options)


# Keys.


@quick
def test_no_served_route_opens_without_a_key(raw):
    def check(case):
        route, headers = case
        assert is_error(ask(raw, route, key="", headers=headers), 401)

    keys = [b"e2b_" + 40 * b"0", b"no key at all", "größe".encode(), b"\xff", b"x" * 5000]
    given = [{}] + [{"X-API-KEY": key} for key in keys] + [{"Authorization": f"Bearer {raw.server.key}"}]
    each([(route, headers) for route in SERVED for headers in given], check)


def test_no_refused_route_tells_anything_without_a_key(raw):
    control = [route for route in REFUSED if "volumecontent" not in route[1]]
    each(control, lambda route: is_error(ask(raw, route, key=""), 401))


@quick
def test_another_key_finds_no_sandbox_by_any_route(one, raw, server):
    def check(route):
        theirs = ask(raw, route, one.sandbox_id, key=server.other_key)
        assert is_error(theirs, 404, one.sandbox_id)
        # What is there but not theirs is told of like what never was.
        never = ask(raw, route, key=server.other_key)
        assert theirs.json()["message"].replace(one.sandbox_id, ID) == never.json()["message"]
        assert one.is_running() is True

    each(OF_A_SANDBOX, check)


def test_what_never_was_is_not_found_by_any_route(raw):
    words = (ID, "doesn't exist or you don't have access to it")
    each(OF_A_SANDBOX, lambda route: is_error(ask(raw, route), 404, *words))


# Bodies.


@quick
def test_a_body_that_is_no_object_is_refused(raw):
    def check(body):
        headers = {"Content-Type": "application/json"}
        assert is_error(raw.control("POST", "/v2/sandboxes", content=body, headers=headers), 400)

    good = b'{"templateID":"base"}'
    each(
        [b"", b"{", b"[]", b"null", b'"base"', b'["base"]', b"\xff\xfe", good + b" more", good[:-1] + b",}", good * 2],
        check,
    )


@quick
def test_a_field_of_another_kind_is_refused_by_name(raw):
    def check(case):
        field, value = case
        answer = raw.control("POST", "/v2/sandboxes", json={"templateID": "base", field: value})
        assert is_error(answer, 400, field)

    fields = [
        ("templateID", 5),
        ("templateID", None),
        ("timeout", "soon"),
        ("timeout", 1.5),
        ("timeout", 2**63),
        ("timeout", True),
        ("metadata", ["a"]),
        ("metadata", {"a": 1}),
        ("metadata", {"a": None}),
        ("envVars", "A=B"),
        ("envVars", {"A": 1}),
        ("envVars", {"A=B": "c"}),
        ("envVars", {"": "c"}),
        ("envVars", {"A": "nul\0byte"}),
        ("autoPause", "no"),
        ("allow_internet_access", "yes"),
    ]
    each(fields, check)


@pytest.mark.parametrize("body", [{}, {"timeout": "x"}, {"timeout": None}, [], [77]])
def test_a_timeout_that_is_none_is_refused(one, raw, body):
    assert is_error(raw.control("POST", f"/sandboxes/{one.sandbox_id}/timeout", json=body), 400)


def test_a_body_may_come_in_pieces(plain, raw):
    def pieces():
        for byte in json.dumps({"templateID": "base", "metadata": {"in": "pieces"}}).encode():
            yield bytes([byte])

    headers = {"Content-Type": "application/json"}
    made = raw.control("POST", "/v2/sandboxes", content=pieces(), headers=headers)
    assert made.status_code == 201
    assert plain.info(made.json()["sandboxID"]).metadata == {"in": "pieces"}
    assert plain.kill(made.json()["sandboxID"])


def test_a_body_without_bound_is_refused(raw):
    body = {"templateID": "base", "metadata": {"a": "x" * (8 << 20)}}
    assert raw.control("POST", "/v2/sandboxes", json=body).status_code == 413
    assert raw.control("GET", "/v2/sandboxes").status_code == 200


def test_metadata_without_bound_is_refused(raw):
    body = {"templateID": "base", "metadata": {f"key{number}": "x" for number in range(100_000)}}
    assert raw.control("POST", "/v2/sandboxes", json=body).status_code in (400, 413)


def test_deep_nesting_is_refused_and_harms_nobody(raw):
    body = b'{"templateID":"base","metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {"Content-Type": "application/json"}
    assert raw.control("POST", "/v2/sandboxes", content=body, headers=headers).status_code in (400, 413)
    assert raw.control("GET", "/v2/sandboxes").status_code == 200


def test_headers_without_bound_are_refused(raw):
    answer = raw.bytes(b"GET /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-Big: " + b"y" * (1 << 20) + b"\r\n\r\n")
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")
    many = b"".join(b"X-%d: y\r\n" % number for number in range(5000))
    answer = raw.bytes(b"GET /v2/sandboxes HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")
    assert raw.control("GET", "/v2/sandboxes").status_code == 200


def test_a_path_without_bound_is_refused(raw):
    answer = raw.control("GET", "/sandboxes/" + "i" * 50_000)
    assert answer.status_code in (400, 404, 414, 431)


def test_what_is_no_http_is_refused(raw):
    answer = raw.bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n", wait_seconds=5)
    assert answer == b"" or answer.split(b" ")[1] == b"400"
    assert raw.control("GET", "/v2/sandboxes").status_code == 200


def test_two_lengths_are_refused(raw):
    text = b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}"
    answer = raw.bytes(text, wait_seconds=5)
    assert answer == b"" or answer.split(b" ")[1] == b"400"


# Ids and routes.


def test_an_id_that_is_none_is_refused(raw):
    def check(case):
        route, bad = case
        assert is_error(ask(raw, route, sandbox_id=bad), 400, "nvalid sandbox ID")

    ids = ["UPPER", "a.b", "a%20b", "a%2Fb", "i%00", "größe", "x" * 300, "%ff", "a%3Fb"]
    each([(route, bad) for route in OF_A_SANDBOX for bad in ids], check)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nosuchroute"),
        ("POST", "/sandboxes/x/y/z"),
        ("GET", "/v2/sandboxes/"),
        ("GET", "/v9/sandboxes"),
    ],
)
def test_a_route_nobody_knows_is_not_found(raw, method, path):
    assert is_error(raw.control(method, path), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v2/sandboxes"), ("PATCH", f"/sandboxes/{ID}"), ("GET", f"/sandboxes/{ID}/timeout")]
)
def test_a_route_has_its_own_methods(raw, method, path):
    answer = raw.control(method, path)
    assert is_error(answer, answer.status_code)
    assert answer.status_code in (404, 405)


@quick
def test_a_route_that_is_not_served_is_refused_by_name(one, raw):
    each(REFUSED, lambda route: is_error(ask(raw, route, one.sandbox_id), 501, route[3]))
    assert one.is_running() is True


def test_what_is_refused_for_good_need_not_be_tried_again(raw):
    def check(route):
        assert ask(raw, route).headers.get("should-retry", "false") == "false"

    each(REFUSED, check)


def test_the_server_tells_that_it_is_well(raw):
    assert raw.control("GET", "/health", key="").status_code in (200, 204)


def test_an_error_is_the_same_to_a_browser(raw):
    headers = {"User-Agent": "Mozilla/5.0", "Accept": "text/html"}
    assert is_error(raw.control("GET", f"/sandboxes/{ID}", headers=headers), 404)


def test_what_a_request_says_is_not_said_back_raw(raw):
    answer = raw.control("GET", "/sandboxes/%1b[31m%0d%0aX-Evil:%201")
    assert "x-evil" not in answer.headers
    assert "\x1b" not in answer.json()["message"]
