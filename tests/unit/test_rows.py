"""The working set: what a fold reads, and what is kept of what it wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from projections import rows as module
from projections.rows import NotLoaded, Refused, Rows
from projections.tables import Row, Table, Want


class Entry(Row, frozen=True):
    user_id: str
    kind: str
    at: int
    text: str


BY_USER = Table("by_user", Entry, key=("user_id", "kind", "at"), unit=1)
BY_KIND = Table("by_kind", Entry, key=("user_id", "kind", "at"), unit=2)
SINGLE = Table("single", Entry, key=("user_id", "kind", "at"), unit=3)


def entry(at: int, text: str = "", kind: str = "a") -> Entry:
    return Entry("u", kind, at, text)


def test_reading_what_is_not_loaded_says_what_to_load() -> None:
    rows = Rows()
    with pytest.raises(NotLoaded) as caught:
        rows.get(SINGLE, "u", "a", 1)
    assert caught.value.want == Want(SINGLE, ("u", "a", 1))
    with pytest.raises(NotLoaded) as caught:
        rows.range(BY_KIND, ("u", "a"), 1, 5)
    assert caught.value.want == Want(BY_KIND, ("u", "a"), 1, 5)


def test_an_absent_row_is_none_once_its_unit_is_loaded() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [])
    assert rows.get(BY_USER, "u", "a", 1) is None
    assert rows.find(BY_USER, "u") == []


def test_what_an_event_wrote_is_read_before_and_after_it_is_accepted() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [entry(1)])
    rows.put(BY_USER, entry(2, "new"))
    assert [row.at for row in rows.find(BY_USER, "u", "a")] == [1, 2]
    rows.accept()
    assert rows.get(BY_USER, "u", "a", 2) == entry(2, "new")
    assert rows.changes.rows == {BY_USER: {("u", "a", 2): entry(2, "new")}}


def test_what_a_refused_event_wrote_is_forgotten() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [entry(1, "old")])
    rows.put(BY_USER, entry(1, "new"))
    rows.delete(BY_USER, "u", "a", 1)
    rows.timer("t", "u", datetime(2026, 1, 1, tzinfo=UTC), {})
    with pytest.raises(Refused, match=r"data\.x: is wrong"):
        rows.refuse("data.x", "is wrong")
    rows.discard()
    assert rows.get(BY_USER, "u", "a", 1) == entry(1, "old")
    assert rows.changes.rows == {}
    assert rows.changes.timers == {}


def test_a_deleted_row_is_gone_for_the_events_after_it() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [entry(1)])
    rows.delete(BY_USER, "u", "a", 1)
    rows.accept()
    assert rows.get(BY_USER, "u", "a", 1) is None
    assert rows.changes.rows == {BY_USER: {("u", "a", 1): None}}


def test_loading_does_not_overwrite_what_the_batch_changed() -> None:
    rows = Rows()
    rows.load(Want(BY_KIND, ("u", "a"), 1, 1), [entry(1, "old")])
    rows.put(BY_KIND, entry(1, "new"))
    rows.accept()
    rows.load(Want(BY_KIND, ("u", "a")), [entry(1, "old"), entry(2)])
    assert [row.text for row in rows.find(BY_KIND, "u", "a")] == ["new", ""]


def test_ranges_know_what_they_cover() -> None:
    rows = Rows()
    rows.load(Want(BY_KIND, ("u", "a"), 1, 5), [entry(2), entry(5)])
    assert [row.at for row in rows.range(BY_KIND, ("u", "a"), 2, 4)] == [2]
    with pytest.raises(NotLoaded):
        rows.range(BY_KIND, ("u", "a"), 2, 6)
    with pytest.raises(NotLoaded):
        rows.range(BY_KIND, ("u", "a"), None, 4)
    rows.put(BY_KIND, entry(3))
    assert [row.at for row in rows.range(BY_KIND, ("u", "a"), 1, 5)] == [2, 3, 5]


def test_missing_wants_are_named_once() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [])
    wants = [Want(BY_USER, ("u",)), Want(BY_USER, ("v",)), Want(BY_USER, ("v",))]
    assert rows.missing(wants) == [Want(BY_USER, ("v",))]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_UNITS_MAX", 10)
    rows = Rows()
    for number in range(25):
        rows.load(Want(BY_USER, (f"u{number}",)), [])
    rows.settle()
    assert len(rows.missing([Want(BY_USER, (f"u{n}",)) for n in range(25)])) == 15


def test_a_whole_unit_is_found_in_order_with_what_was_written_since() -> None:
    rows = Rows()
    rows.load(Want(BY_USER, ("u",)), [entry(3), entry(1)])
    assert [row.at for row in rows.find(BY_USER, "u")] == [1, 3]
    rows.put(BY_USER, entry(2))
    rows.delete(BY_USER, "u", "a", 3)
    assert [row.at for row in rows.find(BY_USER, "u")] == [1, 2]
    rows.accept()
    found = rows.find(BY_USER, "u")
    assert [row.at for row in found] == [1, 2]
    found.clear()
    assert [row.at for row in rows.find(BY_USER, "u")] == [1, 2]


def test_a_unit_known_in_part_is_not_found_as_a_whole() -> None:
    rows = Rows()
    rows.load(Want(BY_KIND, ("u", "a"), 1, 5), [entry(1)])
    with pytest.raises(NotLoaded):
        rows.find(BY_KIND, "u", "a")
    with pytest.raises(ValueError, match="is loaded by"):
        rows.find(BY_KIND, "u")
