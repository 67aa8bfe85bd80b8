"""Reading and writing files."""

import hashlib
import io
import os

import pytest
from e2b import (
    AuthenticationException,
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    NotEnoughSpaceException,
    SandboxException,
)

from raw import each, is_error

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)
BYTES = bytes(range(256)) * 8
TEN_MIB = 10 << 20


@quick
def test_a_text_comes_back(sandbox):
    written = sandbox.files.write("/home/user/a.txt", "größe 🦀\r\nline\0end")
    assert (written.name, written.type, written.path) == ("a.txt", FileType.FILE, "/home/user/a.txt")
    assert written.metadata is None
    assert sandbox.files.read("/home/user/a.txt") == "größe 🦀\r\nline\0end"


@quick
@pytest.mark.parametrize("octets", [False, True], ids=["multipart", "octets"])
def test_bytes_come_back_in_both_encodings(sandbox, octets):
    sandbox.files.write("/tmp/b", BYTES, use_octet_stream=octets)
    assert bytes(sandbox.files.read("/tmp/b", format="bytes")) == BYTES


@pytest.mark.parametrize("octets", [False, True], ids=["multipart", "octets"])
def test_an_empty_file_is_a_file(sandbox, octets):
    sandbox.files.write("/tmp/empty", "", use_octet_stream=octets)
    assert sandbox.files.read("/tmp/empty") == ""
    assert bytes(sandbox.files.read("/tmp/empty", format="bytes")) == b""
    assert sandbox.files.get_info("/tmp/empty").size == 0


def test_an_empty_file_has_a_length(one, raw):
    one.files.write("/tmp/empty", "")
    answer = raw.data(one, "GET", "/files", params={"path": "/tmp/empty"})
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "0", b"")


@both
def test_ten_mebibytes_come_back_whole(sandbox):
    content = os.urandom(TEN_MIB)
    sandbox.files.write("/tmp/big", content)
    assert bytes(sandbox.files.read("/tmp/big", format="bytes")) == content
    said = sandbox.commands.run("sha256sum /tmp/big; stat -c %s /tmp/big").stdout.split()
    assert (said[0], said[2]) == (hashlib.sha256(content).hexdigest(), str(TEN_MIB))


def test_a_file_is_read_as_a_stream(sandbox):
    content = os.urandom(3 << 20)
    sandbox.files.write("/tmp/s", content)
    pieces = list(sandbox.files.read("/tmp/s", format="stream"))
    assert b"".join(pieces) == content
    assert len(pieces) > 1


def test_a_file_is_written_as_a_stream(sandbox):
    content = os.urandom(TEN_MIB)
    sandbox.files.write("/tmp/s", io.BytesIO(content))
    assert bytes(sandbox.files.read("/tmp/s", format="bytes")) == content


def test_a_text_file_is_written_as_a_stream(sandbox):
    sandbox.files.write("/tmp/s", io.StringIO("größe\n" * 1000))
    assert sandbox.files.read("/tmp/s") == "größe\n" * 1000


def test_a_generator_is_written_as_it_yields(plain):
    sandbox = plain.create()
    sandbox.files.write("/tmp/g", (bytes([number]) * 1000 for number in range(100)))
    content = bytes(sandbox.files.read("/tmp/g", format="bytes"))
    assert content == b"".join(bytes([number]) * 1000 for number in range(100))


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_what_is_sent_compressed_is_written_plain(sandbox, size):
    content = (b"compress me " * 10000)[:size]
    sandbox.files.write("/tmp/z", content, gzip=True)
    assert bytes(sandbox.files.read("/tmp/z", format="bytes")) == content
    assert sandbox.commands.run("stat -c %s /tmp/z").stdout == f"{size}\n"


def test_what_is_asked_for_compressed_comes_back_the_same(sandbox):
    sandbox.files.write("/tmp/z", "compress me " * 10000)
    assert sandbox.files.read("/tmp/z", gzip=True) == "compress me " * 10000


# Names and places.


@pytest.mark.parametrize(
    "name",
    [
        "größe 日本 🦀.txt",
        "two  spaces",
        " lead",
        "quo'te\"s",
        "a&b=c?d#e+f%20g",
        "semi;colon",
        "back\\slash",
        "-n",
        "...",
        "*",
    ],
)
def test_odd_names_are_names(sandbox, name):
    path = f"/home/user/{name}"
    written = sandbox.files.write(path, name)
    assert (written.name, written.path) == (name, path)
    assert sandbox.files.read(path) == name
    assert [entry.name for entry in sandbox.files.list("/home/user")] == [name]
    sandbox.files.remove(path)
    assert not sandbox.files.exists(path)


def test_odd_names_are_names_in_a_form_of_many(sandbox):
    names = ["größe 日本.txt", "two  spaces", "quo'te", "a&b=c", "100%", "semi;colon"]
    written = sandbox.files.write_files([{"path": f"/tmp/m/{name}", "data": name} for name in names])
    assert [entry.path for entry in written] == [f"/tmp/m/{name}" for name in names]
    for name in names:
        assert sandbox.files.read(f"/tmp/m/{name}") == name


@quick
def test_a_path_leads_where_it_says(sandbox):
    def check(case):
        given, meant = case
        sandbox.files.remove(meant)
        assert sandbox.files.write(given, "x").path == meant
        assert sandbox.commands.run(f"cat {meant}").stdout == "x"
        assert sandbox.files.read(given) == "x"
        assert sandbox.files.get_info(given).path == meant

    paths = [
        ("note", "/home/user/note"),
        ("~/note", "/home/user/note"),
        ("./deep/../note", "/home/user/note"),
        ("/home/user//note", "/home/user/note"),
        ("/tmp/../home/./user/note", "/home/user/note"),
        ("../../tmp/note", "/tmp/note"),
        ("/../../../tmp/note", "/tmp/note"),
    ]
    each(paths, check)


def test_directories_on_the_way_are_made(sandbox):
    sandbox.files.write("/home/user/a/b/c/d.txt", "deep")
    said = sandbox.commands.run("stat -c '%n %a %U %G' a a/b a/b/c a/b/c/d.txt").stdout
    assert said == ("a 755 user user\na/b 755 user user\na/b/c 755 user user\na/b/c/d.txt 644 user user\n")


def test_a_file_is_replaced_in_place(sandbox):
    sandbox.files.write("/tmp/f", "a longer text")
    sandbox.commands.run("chmod 600 /tmp/f; ln /tmp/f /tmp/other")
    sandbox.files.write("/tmp/f", "short")
    assert sandbox.files.read("/tmp/other") == "short"
    assert sandbox.commands.run("stat -c %a /tmp/f").stdout == "600\n"


@pytest.mark.parametrize("octets", [False, True], ids=["multipart", "octets"])
def test_several_files_are_written_in_order(sandbox, octets):
    files = [{"path": f"/tmp/many/{name}", "data": data} for name, data in [("b", "2"), ("a", b"\x001"), ("c", "")]]
    written = sandbox.files.write_files(files, use_octet_stream=octets)
    assert [entry.path for entry in written] == ["/tmp/many/b", "/tmp/many/a", "/tmp/many/c"]
    for file in files:
        content = bytes(sandbox.files.read(file["path"], format="bytes"))
        assert content == (file["data"] if isinstance(file["data"], bytes) else file["data"].encode())


def test_no_files_are_nothing_to_write(sandbox):
    assert sandbox.files.write_files([]) == []


def test_the_same_file_twice_in_one_form_is_refused(sandbox, refused):
    with refused(InvalidArgumentException, "two files"):
        sandbox.files.write_files([{"path": "/tmp/twice", "data": "1"}, {"path": "/tmp/twice", "data": "2"}])


def test_files_and_commands_see_the_same(sandbox):
    sandbox.files.write("/tmp/in", "from outside")
    assert sandbox.commands.run("cat /tmp/in; printf inside > /tmp/out").stdout == "from outside"
    assert sandbox.files.read("/tmp/out") == "inside"


# What cannot be read.


@quick
def test_a_file_that_is_not_there_is_not_found(sandbox, refused):
    with refused(FileNotFoundException, "/tmp/nothing"):
        sandbox.files.read("/tmp/nothing")
    with refused(FileNotFoundException, "/tmp/nothing"):
        sandbox.files.read("/tmp/nothing", format="stream")


@quick
def test_a_directory_cannot_be_read(sandbox, refused):
    with refused(InvalidArgumentException, "directory"):
        sandbox.files.read("/home/user")


@quick
def test_a_pipe_is_refused_and_holds_nobody_up(sandbox, refused):
    sandbox.commands.run("mkfifo /tmp/pipe")
    with refused(InvalidArgumentException, "/tmp/pipe"):
        sandbox.files.read("/tmp/pipe", request_timeout=5)
    with refused(InvalidArgumentException, "/tmp/pipe"):
        sandbox.files.write("/tmp/pipe", "x", request_timeout=5)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/ptmx"])
def test_a_device_is_refused(sandbox, refused, path):
    with refused(InvalidArgumentException, path):
        sandbox.files.read(path, request_timeout=5)


def test_a_socket_is_refused(sandbox, refused):
    sandbox.commands.run("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/socket\")'")
    with refused(InvalidArgumentException, "/tmp/socket"):
        sandbox.files.read("/tmp/socket", request_timeout=5)


@quick
def test_a_file_whose_size_is_not_told_is_read_to_its_end(sandbox):
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/cpuinfo"):
        wanted = sandbox.commands.run(f"cat {path}").stdout
        assert wanted and len(sandbox.files.read(path)) == len(wanted)
    assert (
        sandbox.files.read("/proc/sys/kernel/random/boot_id")
        == sandbox.commands.run("cat /proc/sys/kernel/random/boot_id").stdout
    )


def test_what_the_user_may_not_read_is_not_read(sandbox, refused):
    sandbox.commands.run("echo secret > /tmp/closed; chmod 000 /tmp/closed; mkdir -m 000 /tmp/shut")
    with refused(SandboxException, "ermission denied"):
        sandbox.files.read("/tmp/closed")
    with refused(SandboxException, "ermission denied"):
        sandbox.files.read("/tmp/shut/inner")


def test_what_the_user_may_not_read_answers_403(one, raw):
    one.commands.run("echo secret > /tmp/closed; chmod 000 /tmp/closed")
    answer = raw.data(one, "GET", "/files", params={"path": "/tmp/closed"})
    assert is_error(answer, 403, "/tmp/closed")


# What cannot be written.


@pytest.mark.parametrize("path", ["/etc/passwd", "/usr/bin/new", "/new", "/root/new", "/proc/version"])
def test_what_belongs_to_the_system_is_not_written(sandbox, refused, path):
    with pytest.raises(SandboxException):
        sandbox.files.write(path, "x")
    assert sandbox.commands.run("grep -c . /etc/passwd").stdout.strip() != "0"


def test_what_is_a_directory_is_not_overwritten(sandbox, refused):
    with refused(InvalidArgumentException, "/tmp"):
        sandbox.files.write("/tmp", "x")


def test_nothing_is_written_beneath_a_file(sandbox, refused):
    sandbox.files.write("/tmp/file", "x")
    with refused(InvalidArgumentException, "/tmp/file"):
        sandbox.files.write("/tmp/file/below", "x")


@pytest.mark.parametrize("path", ["/tmp/" + 256 * "n", "/tmp/" + "d/" * 2100 + "f", "/tmp/nul\0byte", ""])
def test_a_path_that_is_none_is_refused(sandbox, refused, path):
    with refused(InvalidArgumentException):
        sandbox.files.write(path, "x", use_octet_stream=True)
    with refused(InvalidArgumentException):
        sandbox.files.read(path)


@pytest.mark.parametrize("octets", [False, True], ids=["multipart", "octets"])
def test_a_full_disk_is_told_apart(small, refused, octets):
    sandbox = small.create()
    with refused(NotEnoughSpaceException):
        sandbox.files.write("/tmp/big", bytes(64 << 20), use_octet_stream=octets)
    sandbox.files.remove("/tmp/big")
    sandbox.files.write("/tmp/small", "fits again")
    assert sandbox.files.read("/tmp/small") == "fits again"


def test_a_disk_without_room_for_names_is_told_apart(small, refused):
    sandbox = small.create()
    sandbox.commands.run("cd /tmp && touch $(seq 2000) 2>/dev/null || true")
    with refused(NotEnoughSpaceException):
        sandbox.files.write("/tmp/one-more", "x")


# Whose rights.


def test_a_user_nobody_knows_is_refused(sandbox, refused):
    with refused(AuthenticationException, "nosuchuser"):
        sandbox.files.read("/etc/passwd", user="nosuchuser")
    with refused(AuthenticationException, "nosuchuser"):
        sandbox.files.write("/tmp/x", "x", user="nosuchuser")
    with refused(AuthenticationException, "invalid username: 'nosuchuser'"):
        sandbox.files.list("/", user="nosuchuser")


def test_the_user_may_be_named(sandbox):
    sandbox.files.write("mine", "x", user="user")
    assert sandbox.files.read("mine", user="user") == "x"
    assert sandbox.files.get_info("mine", user="user").owner == "user"


@quick
def test_root_is_refused_where_the_policy_does_not_grant_it(sandbox, refused):
    with refused(SandboxException, "root"):
        sandbox.files.write("/tmp/x", "x", user="root")
    with refused(SandboxException, "root"):
        sandbox.files.read("/etc/passwd", user="root")
    with refused(SandboxException, "root"):
        sandbox.files.make_dir("/tmp/d", user="root")
    assert not sandbox.files.exists("/tmp/x") and not sandbox.files.exists("/tmp/d")


@pytest.mark.rooted
def test_root_writes_as_root_where_the_policy_grants_it(rooted, refused):
    sandbox = rooted.create()
    assert sandbox.files.write("note", "x", user="root").path == "/root/note"
    assert sandbox.files.get_info("/root/note", user="root").owner == "root"
    sandbox.commands.run("chmod 600 /root/note", user="root")
    with refused(SandboxException, "ermission denied"):
        sandbox.files.read("/root/note")


@quick
def test_a_link_leads_nowhere_but_inside(sandbox):
    sandbox.commands.run("ln -s /etc/passwd /tmp/link; ln -s ../../../../../../etc/passwd up")
    inside = sandbox.commands.run("cat /etc/passwd").stdout
    assert sandbox.files.read("/tmp/link") == inside
    assert sandbox.files.read("up") == inside
    with open("/etc/passwd", encoding="utf-8") as host:
        assert inside != host.read()


def test_metadata_of_a_file_is_refused_by_name(sandbox, refused):
    with refused(InvalidArgumentException, "etadata"):
        sandbox.files.write("/tmp/x", "x", metadata={"a": "b"})
    assert not sandbox.files.exists("/tmp/x")
