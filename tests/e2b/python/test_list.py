"""The list: what is on it, in which order, on which page, through which filter."""

import uuid
from datetime import timedelta

import pytest
from e2b import SandboxException, SandboxQuery, SandboxState

from raw import each, is_error

quick = pytest.mark.quick
ROUTE = "/v2/sandboxes"


@pytest.fixture
def mark():
    """Metadata that only this test's sandboxes have."""
    return {"mark": uuid.uuid4().hex}


def ids(found):
    return [sandbox.sandbox_id for sandbox in found]


@quick
def test_a_sandbox_is_listed_as_its_details_say(sdk, mark):
    sandbox = sdk.create(metadata={**mark, "more": "x"})
    [found] = sdk.listed(query=SandboxQuery(metadata=mark))
    info = sdk.info(sandbox.sandbox_id)
    for field in ("sandbox_id", "template_id", "name", "metadata", "started_at", "end_at", "state"):
        assert getattr(found, field) == getattr(info, field), field
    assert (found.cpu_count, found.memory_mb, found.envd_version) == (2, 2048, "0.6.13")


def test_the_newest_comes_first_unless_asked_otherwise(sdk, mark):
    made = [sdk.create(metadata=mark).sandbox_id for _ in range(3)]
    query = SandboxQuery(metadata=mark)
    assert ids(sdk.listed(query=query)) == made[::-1]
    assert ids(sdk.listed(query=query, order="desc")) == made[::-1]
    assert ids(sdk.listed(query=query, order="asc")) == made


@quick
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_pages_give_each_sandbox_once(sdk, mark, order):
    made = [sdk.create(metadata=mark).sandbox_id for _ in range(5)]
    pages = sdk.pages(query=SandboxQuery(metadata=mark), limit=2, order=order)
    sizes, found = [], []
    while pages.has_next:
        page = pages.next_items()
        sizes.append(len(page))
        found += ids(page)
    assert found == (made if order == "asc" else made[::-1])
    assert sizes == [2, 2, 1]


def test_a_page_that_holds_all_is_the_last(sdk, mark):
    sdk.create(metadata=mark), sdk.create(metadata=mark)
    pages = sdk.pages(query=SandboxQuery(metadata=mark), limit=2)
    assert len(pages.next_items()) == 2
    assert pages.has_next is False


def test_a_token_goes_on_where_the_page_ended(sdk, mark):
    made = [sdk.create(metadata=mark).sandbox_id for _ in range(3)]
    query = SandboxQuery(metadata=mark)
    first = sdk.pages(query=query, limit=1)
    assert ids(first.next_items()) == [made[2]]
    # What is new on top does not shift what follows.
    sdk.create(metadata=mark)
    rest = sdk.listed(query=query, next_token=first.next_token)
    assert ids(rest) == [made[1], made[0]]


def test_what_was_killed_is_not_listed(sdk, mark):
    sandbox = sdk.create(metadata=mark)
    sandbox.kill()
    assert sdk.listed(query=SandboxQuery(metadata=mark)) == []


# Filters.


@quick
def test_odd_metadata_is_found(sdk, mark):
    def check(case):
        key, value = case
        wanted = sdk.create(metadata={**mark, key: value}).sandbox_id
        sdk.create(metadata={**mark, key: value + "x"})
        assert ids(sdk.listed(query=SandboxQuery(metadata={**mark, key: value}))) == [wanted]

    odd = [
        ("k y", "v&1"),
        ("a=b", "c=d"),
        ("100%", "%41%2541"),
        ("plus+", "a+b c"),
        ("größe", "日本 🦀"),
        ("slash/?#", '"quoted";,\''),
        ("empty", ""),
    ]
    each(odd, check)


def test_all_pairs_must_match(sdk, mark):
    both = sdk.create(metadata={**mark, "a": "1", "b": "2"}).sandbox_id
    sdk.create(metadata={**mark, "a": "1"})
    sdk.create(metadata={**mark, "a": "1", "b": "3"})
    assert ids(sdk.listed(query=SandboxQuery(metadata={**mark, "a": "1", "b": "2"}))) == [both]
    assert len(sdk.listed(query=SandboxQuery(metadata={**mark, "a": "1"}))) == 3


def test_what_has_no_metadata_matches_no_pair(sdk):
    bare = sdk.create().sandbox_id
    assert bare not in ids(sdk.listed(query=SandboxQuery(metadata={"any": "thing"})))
    assert bare in ids(sdk.listed())


def test_running_ones_are_running_and_none_is_paused(sdk, mark):
    made = sdk.create(metadata=mark).sandbox_id

    def by(*states):
        return ids(sdk.listed(query=SandboxQuery(metadata=mark, state=list(states))))

    assert by(SandboxState.RUNNING) == [made]
    assert by(SandboxState.RUNNING, SandboxState.PAUSED) == [made]
    assert by(SandboxState.PAUSED) == []


def test_a_template_filters(sdk, mark):
    made = sdk.create(metadata=mark)

    def of(template):
        return ids(sdk.listed(query=SandboxQuery(metadata=mark, template=template)))

    assert of("base") == [made.sandbox_id]
    assert of(sdk.info(made.sandbox_id).template_id) == [made.sandbox_id]
    assert of("nosuchtemplate") == []


def test_a_template_with_a_tag_is_refused(sdk, refused):
    with refused(SandboxException, "400"):
        sdk.listed(query=SandboxQuery(template="base:latest"))


def test_the_bound_on_the_start_includes_itself(sdk, mark):
    sandbox = sdk.create(metadata=mark)
    start = sdk.info(sandbox.sandbox_id).started_at

    def since(moment):
        return ids(sdk.listed(query=SandboxQuery(metadata=mark, started_after=moment)))

    assert since(start) == [sandbox.sandbox_id]
    assert since(start - timedelta(seconds=1)) == [sandbox.sandbox_id]
    assert since(start + timedelta(seconds=1)) == []


# What the SDK hides.


def test_the_header_of_the_next_page_is_there_only_when_there_is_one(plain, raw, mark):
    for _ in range(2):
        plain.create(metadata=mark)
    query = {"metadata": f"mark={mark['mark']}"}
    first = raw.control("GET", ROUTE, params={**query, "limit": "1"})
    assert first.headers["x-next-token"]
    second = raw.control("GET", ROUTE, params={**query, "limit": "1", "nextToken": first.headers["x-next-token"]})
    assert "x-next-token" not in second.headers
    assert [len(first.json()), len(second.json())] == [1, 1]


def test_the_number_of_running_ones_is_told_when_they_were_asked_for(one, raw):
    assert int(raw.control("GET", ROUTE).headers["x-total-running"]) >= 1
    assert int(raw.control("GET", ROUTE, params={"state": "running"}).headers["x-total-running"]) >= 1
    assert "x-total-running" not in raw.control("GET", ROUTE, params={"state": "paused"}).headers


def test_a_listed_sandbox_has_every_field_that_is_required(plain, raw, mark):
    plain.create(metadata=mark)
    [found] = raw.control("GET", ROUTE, params={"metadata": f"mark={mark['mark']}"}).json()
    required = {"templateID", "sandboxID", "clientID", "startedAt", "endAt", "cpuCount", "memoryMB"}
    assert required | {"diskSizeMB", "state", "envdVersion"} <= set(found)
    assert found["diskSizeMB"] == 1024
    assert found["startedAt"].endswith("Z") and found["endAt"].endswith("Z")


def test_a_bad_query_is_refused(raw):
    def check(query):
        assert is_error(raw.control("GET", ROUTE, params=query), 400)

    bad = [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"order": "sideways"},
        {"state": "asleep"},
        {"nextToken": "no token at all"},
        {"metadata": "noequals"},
        {"metadata": "a=b=c"},
        {"startedAfter": "yesterday"},
    ]
    each(bad, check)


def test_the_first_route_lists_what_runs(plain, raw, mark):
    made = plain.create(metadata=mark).sandbox_id
    assert made in [found["sandboxID"] for found in raw.control("GET", "/sandboxes").json()]
    listed = raw.control("GET", "/sandboxes", params={"metadata": f"mark={mark['mark']}"}).json()
    assert [found["sandboxID"] for found in listed] == [made]
