"""URLs that carry their permission: no key, no token, no header that names a sandbox."""

import time
import urllib.parse

import httpx
import pytest

from raw import each

quick = pytest.mark.quick


def get(url):
    return httpx.get(url, trust_env=False)


def post(url, **options):
    return httpx.post(url, trust_env=False, **options)


def changed(url, **parameters):
    parts = urllib.parse.urlsplit(url)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **parameters}
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urllib.parse.urlencode(kept)).geturl()


@quick
def test_a_file_is_downloaded(one):
    one.files.write("größe &.txt", b"\x00content\xff")
    answer = get(one.download_url("größe &.txt"))
    assert (answer.status_code, answer.content) == (200, b"\x00content\xff")
    assert answer.headers["content-disposition"].startswith("inline; filename")


@quick
def test_a_file_is_uploaded(one):
    answer = post(one.upload_url("/tmp/up load.txt"), files={"file": ("ignored", b"content")})
    assert answer.status_code == 200
    assert answer.json() == [{"name": "up load.txt", "type": "file", "path": "/tmp/up load.txt"}]
    assert one.files.read("/tmp/up load.txt") == "content"


def test_octets_are_uploaded(one):
    headers = {"Content-Type": "application/octet-stream"}
    assert post(one.upload_url("/tmp/o"), content=b"octets", headers=headers).status_code == 200
    assert one.files.read("/tmp/o") == "octets"


def test_a_user_may_be_part_of_it(one):
    one.files.write("mine", "x")
    assert get(one.download_url("mine", user="user")).content == b"x"
    assert post(one.upload_url("more", user="user"), files={"file": b"y"}).status_code == 200
    assert one.files.get_info("more").owner == "user"


def test_it_holds_until_its_time_and_not_longer(one):
    one.files.write("/tmp/f", "x")
    url = one.download_url("/tmp/f", use_signature_expiration=2)
    assert get(url).content == b"x"
    time.sleep(3.1)
    answer = get(url)
    assert answer.status_code == 401
    assert answer.json() == {"code": 401, "message": "signature is already expired"}
    upload = one.upload_url("/tmp/f", use_signature_expiration=60)
    assert post(upload, files={"file": b"y"}).status_code == 200


@quick
def test_what_was_changed_is_refused(one):
    one.files.write("/tmp/f", "x")
    one.files.write("/tmp/other", "x")
    url = one.download_url("/tmp/f")

    def check(change):
        answer = get(changed(url, **change))
        assert answer.status_code == 401
        assert answer.json() == {"code": 401, "message": "invalid signature"}

    forged = [
        {"signature": "v1_" + 43 * "A"},
        {"path": "/tmp/other"},
        {"username": "user"},
        {"signature_expiration": "99999999999"},
        {"signature": "v1_"},
        {"signature": "größe"},
    ]
    each(forged, check)


def test_without_a_signature_it_is_refused(one):
    answer = get(changed(one.download_url("/tmp/f"), signature=None))
    assert answer.status_code == 401
    assert answer.json() == {"code": 401, "message": "missing signature query parameter"}


def test_reading_is_not_writing(one):
    one.files.write("/tmp/f", "x")
    assert post(one.download_url("/tmp/f"), files={"file": b"y"}).status_code == 401
    assert get(one.upload_url("/tmp/f")).status_code == 401
    assert one.files.read("/tmp/f") == "x"


def test_it_leads_to_its_own_sandbox(plain):
    first, second = plain.create(), plain.create()
    first.files.write("/tmp/f", "first")
    second.files.write("/tmp/f", "second")
    assert get(first.download_url("/tmp/f")).content == b"first"
    assert get(second.download_url("/tmp/f")).content == b"second"


def test_it_ends_with_its_sandbox(one):
    one.files.write("/tmp/f", "x")
    url = one.download_url("/tmp/f")
    one.kill()
    assert get(url).status_code in (401, 502)


def test_a_path_is_taken_as_it_was_signed(one):
    one.files.write("/home/user/f", "x")
    assert get(one.download_url("./f")).content == b"x"
    assert get(one.download_url("~/f")).content == b"x"
    assert get(changed(one.download_url("./f"), path="f")).status_code == 401


def test_a_signature_serves_with_the_headers_too(one, raw):
    one.files.write("/tmp/f", "x")
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(one.download_url("/tmp/f")).query))
    assert raw.data(one, "GET", "/files", token="", params=query).content == b"x"
    # A token that is there must be right, whatever the signature.
    assert raw.data(one, "GET", "/files", token="wrong", params=query).status_code == 401
