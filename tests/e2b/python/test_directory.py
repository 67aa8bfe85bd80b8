"""Entries of the file system: what they are, where they are, moving and removing them."""

from datetime import datetime, timedelta, timezone

import pytest
from e2b import FileNotFoundException, FileType, InvalidArgumentException, SandboxException

from raw import is_connect_error

quick = pytest.mark.quick


# What an entry is.


@quick
def test_a_file_is_told_in_full(sandbox):
    sandbox.files.write("/tmp/f.txt", "12345")
    sandbox.commands.run("chmod 640 /tmp/f.txt")
    info = sandbox.files.get_info("/tmp/f.txt")
    assert (info.name, info.type, info.path) == ("f.txt", FileType.FILE, "/tmp/f.txt")
    assert (info.size, info.mode, info.permissions) == (5, 0o640, "-rw-r-----")
    assert (info.owner, info.group) == ("user", "user")
    assert (info.symlink_target, info.metadata) == (None, None)
    assert abs(datetime.now(timezone.utc) - info.modified_time) < timedelta(seconds=30)


def test_a_directory_is_told_in_full(sandbox):
    sandbox.files.make_dir("/tmp/d")
    info = sandbox.files.get_info("/tmp/d")
    assert (info.name, info.type, info.path) == ("d", FileType.DIR, "/tmp/d")
    assert (info.mode, info.permissions) == (0o755, "drwxr-xr-x")
    assert info.size > 0


def test_special_bits_are_told(sandbox):
    assert sandbox.files.get_info("/tmp").permissions in ("dtrwxrwxrwx", "drwxrwxrwt")
    assert sandbox.files.get_info("/tmp").mode & 0o777 == 0o777


def test_a_change_changes_the_time(sandbox):
    sandbox.files.write("/tmp/f", "x")
    sandbox.commands.run("touch -d '2001-02-03 04:05:06.789 UTC' /tmp/f")
    then = datetime(2001, 2, 3, 4, 5, 6, 789000, timezone.utc)
    assert sandbox.files.get_info("/tmp/f").modified_time == then
    sandbox.files.write("/tmp/f", "y")
    assert sandbox.files.get_info("/tmp/f").modified_time > then


def test_what_is_there_exists_and_what_is_not_does_not(sandbox):
    sandbox.files.write("/tmp/f", "x")
    sandbox.commands.run("ln -s /nowhere /tmp/dangling")
    assert sandbox.files.exists("/tmp/f") is True
    assert sandbox.files.exists("/tmp") is True
    assert sandbox.files.exists("~") is True
    assert sandbox.files.exists("/tmp/dangling") is True
    assert sandbox.files.exists("/tmp/nothing") is False
    assert sandbox.files.exists("/tmp/no/thing") is False


def test_what_is_not_there_has_no_details(sandbox, refused):
    with refused(FileNotFoundException, "/tmp/nothing"):
        sandbox.files.get_info("/tmp/nothing")


# Links.


@quick
def test_a_link_to_a_file_is_told_as_what_it_leads_to(sandbox):
    sandbox.files.write("/tmp/target", "12345")
    sandbox.commands.run("chmod 600 /tmp/target; ln -s target /tmp/link")
    info = sandbox.files.get_info("/tmp/link")
    assert (info.name, info.path, info.type) == ("link", "/tmp/link", FileType.FILE)
    assert (info.mode, info.permissions) == (0o600, "Lrwxrwxrwx")
    assert (info.symlink_target, info.size) == ("/tmp/target", len("target"))


def test_a_link_to_a_directory_is_told_as_a_directory(sandbox):
    sandbox.commands.run("mkdir /tmp/d; ln -s /tmp/d /tmp/link")
    info = sandbox.files.get_info("/tmp/link")
    assert (info.type, info.symlink_target) == (FileType.DIR, "/tmp/d")


@pytest.mark.parametrize("target", ["/nowhere", "/tmp/link"])
def test_a_link_that_leads_nowhere_has_no_type(sandbox, target):
    sandbox.commands.run(f"ln -s {target} /tmp/link")
    info = sandbox.files.get_info("/tmp/link")
    assert (info.type, info.symlink_target) == (None, "/tmp/link")


def test_files_are_read_and_written_through_links(sandbox):
    sandbox.files.write("/tmp/target", "old")
    sandbox.commands.run("ln -s /tmp/target /tmp/link")
    assert sandbox.files.read("/tmp/link") == "old"
    sandbox.files.write("/tmp/link", "new")
    assert sandbox.files.read("/tmp/target") == "new"
    assert sandbox.commands.run("test -L /tmp/link && echo link").stdout == "link\n"


# Lists.


@pytest.fixture
def tree(sandbox):
    sandbox.commands.run("mkdir -p t/subdir1/deep t/subdir2; touch t/file1.txt t/subdir1/a t/subdir1/deep/x t/Z")
    return sandbox


def listed(sandbox, path="t", **options):
    return [entry.path.removeprefix("/home/user/t/") for entry in sandbox.files.list(path, **options)]


def test_a_list_is_sorted_by_name(tree):
    assert listed(tree) == ["Z", "file1.txt", "subdir1", "subdir2"]


@quick
def test_a_list_goes_as_deep_as_asked(tree):
    assert listed(tree, depth=2) == ["Z", "file1.txt", "subdir1", "subdir1/a", "subdir1/deep", "subdir2"]
    assert listed(tree, depth=3) == [
        "Z", "file1.txt", "subdir1", "subdir1/a", "subdir1/deep", "subdir1/deep/x", "subdir2"
    ]  # fmt: skip
    assert listed(tree, depth=30) == listed(tree, depth=3)
    assert listed(tree, depth=None) == listed(tree, depth=1)


def test_a_listed_entry_is_told_as_by_itself(tree):
    for entry in tree.files.list("/home/user/t", depth=3):
        assert entry == tree.files.get_info(entry.path)


def test_an_empty_directory_has_no_entries(sandbox):
    sandbox.files.make_dir("/tmp/empty")
    assert sandbox.files.list("/tmp/empty") == []


def test_hidden_entries_are_listed(sandbox):
    sandbox.commands.run("mkdir h; touch h/.hidden h/seen")
    assert [entry.name for entry in sandbox.files.list("h")] == [".hidden", "seen"]


def test_what_cannot_be_listed_is_told_why(sandbox, refused):
    with refused(FileNotFoundException, "/tmp/nothing"):
        sandbox.files.list("/tmp/nothing")
    sandbox.files.write("/tmp/file", "x")
    with refused(InvalidArgumentException, "/tmp/file"):
        sandbox.files.list("/tmp/file")


def test_a_list_through_a_link_keeps_the_name_that_was_asked_for(sandbox):
    sandbox.commands.run("mkdir -p /tmp/real/in; touch /tmp/real/f; ln -s /tmp/real /tmp/link")
    assert [entry.path for entry in sandbox.files.list("/tmp/link")] == ["/tmp/link/f", "/tmp/link/in"]


def test_a_list_does_not_follow_links_within(sandbox):
    sandbox.commands.run("mkdir -p /tmp/a; ln -s /tmp /tmp/a/up; ln -s . /tmp/a/self")
    names = [entry.path for entry in sandbox.files.list("/tmp/a", depth=5)]
    assert names == ["/tmp/a/self", "/tmp/a/up"]


def test_many_entries_are_all_listed(sandbox):
    sandbox.commands.run("mkdir /tmp/many; cd /tmp/many; touch $(seq -f %05g 3000)")
    names = [entry.name for entry in sandbox.files.list("/tmp/many")]
    assert names == [f"{number:05d}" for number in range(1, 3001)]


def test_the_root_directory_is_listed(sandbox):
    names = [entry.name for entry in sandbox.files.list("/")]
    assert {"etc", "home", "proc", "tmp", "usr"} <= set(names) and names == sorted(names)


def test_what_the_user_may_not_list_is_not_listed(sandbox, refused):
    sandbox.commands.run("mkdir -m 000 /tmp/shut")
    with refused(SandboxException, "PERMISSION_DENIED"):
        sandbox.files.list("/tmp/shut")


# Making.


@quick
def test_a_directory_is_made_once(sandbox):
    assert sandbox.files.make_dir("a/b/c") is True
    assert sandbox.files.make_dir("a/b/c") is False
    assert sandbox.files.make_dir("a") is False
    said = sandbox.commands.run("stat -c '%n %a %U' a a/b a/b/c").stdout
    assert said == "a 755 user\na/b 755 user\na/b/c 755 user\n"


def test_no_directory_is_made_over_a_file(sandbox, refused):
    sandbox.files.write("/tmp/file", "x")
    with refused(InvalidArgumentException, "/tmp/file"):
        sandbox.files.make_dir("/tmp/file")
    with refused(InvalidArgumentException, "/tmp/file"):
        sandbox.files.make_dir("/tmp/file/below")


def test_no_directory_is_made_where_the_user_may_not(sandbox, refused):
    with refused(SandboxException):
        sandbox.files.make_dir("/etc/new")


# Moving.


@quick
def test_a_file_is_moved(sandbox):
    sandbox.files.write("/tmp/old", "content")
    info = sandbox.files.rename("/tmp/old", "/tmp/new")
    assert (info.name, info.path, info.type, info.size) == ("new", "/tmp/new", FileType.FILE, 7)
    assert sandbox.files.exists("/tmp/old") is False
    assert sandbox.files.read("/tmp/new") == "content"


def test_a_move_goes_to_another_place_and_makes_the_way(sandbox):
    sandbox.files.write("/tmp/old", "content")
    # Two mounts of one disk: what `mv` does by copying.
    assert sandbox.files.rename("/tmp/old", "~/x/y/new").path == "/home/user/x/y/new"
    assert sandbox.files.read("x/y/new") == "content"
    assert sandbox.files.exists("/tmp/old") is False


def test_a_move_replaces_a_file(sandbox):
    sandbox.files.write("/tmp/old", "old")
    sandbox.files.write("/tmp/new", "to be replaced")
    sandbox.files.rename("/tmp/old", "/tmp/new")
    assert sandbox.files.read("/tmp/new") == "old"


def test_a_directory_is_moved_with_all_in_it(sandbox):
    sandbox.files.write("d/in/f", "x")
    assert sandbox.files.rename("d", "e").type == FileType.DIR
    assert sandbox.files.read("e/in/f") == "x"
    assert sandbox.files.exists("d") is False


def test_what_is_not_there_is_not_moved(sandbox, refused):
    with refused(FileNotFoundException, "/tmp/nothing"):
        sandbox.files.rename("/tmp/nothing", "/tmp/new")
    assert sandbox.files.exists("/tmp/new") is False


# Removing.


def test_a_file_is_removed(sandbox):
    sandbox.files.write("/tmp/f", "x")
    assert sandbox.files.remove("/tmp/f") is None
    assert sandbox.files.exists("/tmp/f") is False


@quick
def test_a_tree_is_removed(sandbox):
    sandbox.commands.run("mkdir -p t/{a,b,c}/{1,2,3}/deep; touch t/{a,b,c}/{1,2,3}/deep/f")
    sandbox.files.remove("t")
    assert sandbox.files.exists("t") is False


def test_what_is_not_there_is_as_good_as_removed(sandbox):
    assert sandbox.files.remove("/tmp/nothing") is None
    assert sandbox.files.remove("/tmp/no/thing") is None


def test_a_link_is_removed_and_not_what_it_leads_to(sandbox):
    sandbox.commands.run("mkdir -p d; echo kept > d/f; ln -s /home/user/d l; mkdir t; ln -s /home/user/d t/l")
    sandbox.files.remove("l")
    sandbox.files.remove("t")
    assert sandbox.files.read("d/f") == "kept\n"
    assert not sandbox.files.exists("l") and not sandbox.files.exists("t")


def test_what_the_user_may_not_remove_stays(sandbox, refused):
    with refused(SandboxException):
        sandbox.files.remove("/etc/passwd")
    assert sandbox.files.exists("/etc/passwd") is True


# What is refused.


@quick
def test_watching_is_refused_by_name(plain, refused):
    with refused(SandboxException, "UNIMPLEMENTED", "CreateWatcher"):
        plain.create().files.watch_dir("/tmp")


@pytest.mark.parametrize("procedure", ["CreateWatcher", "GetWatcherEvents", "RemoveWatcher"])
def test_every_procedure_of_watching_is_refused_by_name(one, raw, procedure):
    answer = raw.unary(one, f"filesystem.Filesystem/{procedure}", {})
    assert is_connect_error(answer, 501, "unimplemented", procedure)


@pytest.mark.parametrize("path", ["nul\0byte", "n" * 256])
def test_a_path_that_is_none_is_refused(sandbox, refused, path):
    with refused(InvalidArgumentException):
        sandbox.files.make_dir(path)
