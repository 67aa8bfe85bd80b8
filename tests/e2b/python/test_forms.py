"""Uploads and downloads as bytes: forms, octets, what is said of a file."""

import gzip

import pytest

from raw import each, is_error, routing


def form(*parts):
    """A multipart body of `(headers, content)`."""
    lines = b"".join(b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return lines + b"--b--\r\n"


def upload(raw, sandbox, body, path=None, kind="multipart/form-data; boundary=b", **headers):
    query = {} if path is None else {"path": path}
    return raw.data(sandbox, "POST", "/files", params=query, content=body, headers={"Content-Type": kind, **headers})


NAMELESS = 'Content-Disposition: form-data; name="file"'


def test_a_part_without_a_file_name_is_written(one, raw):
    answer = upload(raw, one, form((NAMELESS, b"text")), path="/tmp/f")
    assert answer.json() == [{"name": "f", "type": "file", "path": "/tmp/f"}]
    assert one.files.read("/tmp/f") == "text"


def test_the_name_of_a_part_counts_only_without_a_path(one, raw):
    head = NAMELESS + '; filename="/tmp/named"'
    assert upload(raw, one, form((head, b"1")), path="/tmp/f").json()[0]["path"] == "/tmp/f"
    assert upload(raw, one, form((head, b"2"))).json()[0]["path"] == "/tmp/named"
    assert one.files.read("/tmp/f") == "1" and one.files.read("/tmp/named") == "2"


def test_what_looks_like_a_boundary_is_content(one, raw):
    content = b"--a\n\r\n--\r\n\r\r\n-\n--b--\r--b\r\n-b"
    assert upload(raw, one, form((NAMELESS, content)), path="/tmp/f").status_code == 200
    assert bytes(one.files.read("/tmp/f", format="bytes")) == content


def test_an_upload_that_is_none_is_refused(one, raw):
    def check(case):
        body, path, kind = case
        answer = upload(raw, one, body, path, **({"kind": kind} if kind else {}))
        assert answer.status_code in (400, 415)
        assert is_error(answer, answer.status_code)

    uploads = [
        (form((NAMELESS, b"1"), (NAMELESS, b"2")), "/tmp/f", None),
        (form((NAMELESS, b"x")), None, None),
        (form(('Content-Disposition: form-data; name="other"', b"x")), "/tmp/f", None),
        (form(), "/tmp/f", None),
        (form((NAMELESS, b"x"))[:-9], "/tmp/f", None),
        (b"", "/tmp/f", None),
        (b"no form at all", "/tmp/f", None),
        (form((NAMELESS, b"x")), "/tmp/f", "multipart/form-data"),
        (b"x", None, "application/octet-stream"),
        (b"x", "/tmp/f", "text/plain"),
    ]
    each(uploads, check)


def test_what_claims_to_be_compressed_and_is_not_is_refused(one, raw):
    options = {"path": "/tmp/f", "kind": "application/octet-stream"}
    assert is_error(upload(raw, one, b"plain", **options, **{"Content-Encoding": "gzip"}), 400)
    cut = gzip.compress(b"x" * 1000)[:-6]
    assert is_error(upload(raw, one, cut, **options, **{"Content-Encoding": "gzip"}), 400)
    assert upload(raw, one, b"x", **options, **{"Content-Encoding": "br"}).status_code in (400, 415)


def test_an_upload_may_come_in_pieces(one, raw):
    def pieces():
        for number in range(100):
            yield bytes([number]) * 1000

    answer = upload(raw, one, pieces(), path="/tmp/f", kind="application/octet-stream")
    assert answer.json() == [{"name": "f", "type": "file", "path": "/tmp/f"}]
    assert bytes(one.files.read("/tmp/f", format="bytes")) == b"".join(pieces())


def test_an_upload_that_breaks_off_harms_nobody(one, raw):
    head = "".join(f"{name}: {value}\r\n" for name, value in routing(one, None).items())
    text = f"POST /files?path=/tmp/f HTTP/1.1\r\nHost: x\r\n{head}Content-Type: application/octet-stream\r\n"
    raw.bytes(f"{text}Content-Length: 1000000\r\n\r\nbeginning".encode(), wait_seconds=0.3)
    assert one.commands.run("echo fine").stdout == "fine\n"
    one.files.write("/tmp/f", "whole")
    assert one.files.read("/tmp/f") == "whole"


def test_a_download_says_what_it_is(one, raw):
    one.files.write("/tmp/a b.txt", "text")
    answer = raw.data(one, "GET", "/files", params={"path": "/tmp/a b.txt"})
    assert (answer.status_code, answer.content) == (200, b"text")
    assert answer.headers["content-disposition"].startswith("inline; filename")
    assert "accept-encoding" in answer.headers["vary"].lower()


@pytest.mark.parametrize(
    ("path", "status"), [("/tmp/no-such", 404), ("/tmp", 400), ("", 400), (None, 400), ("/etc/passwd/x", 404)]
)
def test_a_download_that_fails_says_why(one, raw, path, status):
    query = {} if path is None else {"path": path}
    answer = raw.data(one, "GET", "/files", params=query)
    if path == "/etc/passwd/x":
        status = answer.status_code if answer.status_code in (400, 404) else status
    assert is_error(answer, status)


def test_a_path_that_no_rule_gives_is_not_there_and_the_denial_says_why(one, raw):
    answer = raw.data(one, "GET", "/files", params={"path": "/no/such"})
    said = answer.json()
    assert (answer.status_code, said["code"], said["message"]) == (404, 404, "path '/no/such' does not exist")
    assert (said["denial"]["code"], said["denial"]["rule"]) == ("files", "files")


def test_a_download_in_no_encoding_at_all_is_refused(one, raw):
    one.files.write("/tmp/f", "x")
    headers = {"Accept-Encoding": "identity;q=0, br;q=1"}
    assert is_error(raw.data(one, "GET", "/files", params={"path": "/tmp/f"}, headers=headers), 406)


def test_a_user_nobody_knows_downloads_nothing(one, raw):
    answer = raw.data(one, "GET", "/files", params={"path": "/etc/passwd", "username": "nosuchuser"})
    assert is_error(answer, 401, "nosuchuser")
