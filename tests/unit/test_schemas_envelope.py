"""Drafts out, events in: what is made here is what is read here."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

import pytest

from schemas import envelope
from schemas.codec import decode_batch, encode
from schemas.envelope import Draft, derived_id, key_of, topic_of, uuid7, wire
from schemas.errors import InvalidEvent
from schemas.events.app import PreferencesChanged
from schemas.events.bank import TransactionPosted
from schemas.events.fields import Money
from schemas.registry import NEWEST, TYPES, event_type
from tests.builders import T0, draft, event_of, events_of, posted, records_of, step, trade


def test_a_model_travels_and_comes_back() -> None:
    posting = TransactionPosted(
        transaction="txn_1",
        account="acc_1",
        direction="credit",
        amount=Decimal("45000.00"),
        currency="INR",
        status="posted",
        value_date=date(2026, 2, 12),
    )
    made = Draft(
        type="bfc.transaction.posted.v1",
        source="/bfc",
        data=posting,
        time=T0,
        user_id="usr_17",
        causation_id="c",
        correlation_id="d",
    )
    event = event_of(made)
    data: TransactionPosted = event.data
    assert data.amount == Decimal("45000.00") and f"{data.amount}" == "45000.00"
    assert data.value_date == date(2026, 2, 12)
    assert data.merchant is None
    assert (event.causation_id, event.correlation_id, event.tenant_id) == ("c", "d", "bfc")
    assert event.raw_data["valueDate"] == "2026-02-12"
    assert "merchant" not in event.raw_data
    assert wire(event.data) == event.raw_data


def test_models_take_only_what_is_valid() -> None:
    with pytest.raises(ValueError, match="up to 18 decimals"):
        Money(amount=Decimal("1E-19"), currency="INR")
    with pytest.raises(ValueError, match="finite"):
        Money(amount=Decimal("NaN"), currency="INR")
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(amount=Decimal(1), currency="XXX")


def test_dicts_keep_their_nulls_and_models_leave_theirs_out() -> None:
    assert wire({"a": None, "b": [Decimal("1.50"), T0]}) == {
        "a": None,
        "b": ["1.50", "2026-02-12T09:30:00.000Z"],
    }
    changed = PreferencesChanged.model_validate(
        {"preferences": {"quietHours": {"from": "22:00", "to": "07:00"}}}
    )
    assert wire(changed)["preferences"]["quietHours"] == {"from": "22:00", "to": "07:00"}
    assert "timezone" not in wire(changed)["preferences"]


def test_an_invalid_draft_does_not_leave_the_house() -> None:
    for made, path in (
        (draft("bfc.account.closed", {"account": ""}), "data.account"),
        (draft("bfc.account.closed", {"account": "a"}, id="x" * 129), "id"),
        (draft("bfc.account.closed", {"account": "a\ud800"}), ""),
        (draft("no.such.type", {}), "type"),
        (draft("bfc.account.closed", {"account": "a"}, user=None), "userid"),
        (draft("market.price.ticked", {}), "data.symbol"),
    ):
        with pytest.raises(InvalidEvent) as caught:
            encode(made)
        assert path in [error.path for error in caught.value.errors]


def test_keys_and_topics() -> None:
    assert (topic_of(posted()).name, key_of(posted(user="usr_1"))) == ("bfc.ledger", b"usr_1")
    assert key_of(step("signup", session="s", user=None)) == b"s"
    assert event_type("vyomo.trade.executed.v1").topic.name == topic_of(trade()).name


def test_ids_are_new_or_follow_from_their_cause() -> None:
    fresh = [uuid.UUID(uuid7()) for _ in range(100)]
    assert len(set(fresh)) == 100
    assert {identifier.version for identifier in fresh} == {7}
    cause = event_of(posted(id="one"))
    again = event_of(posted(id="one"))
    assert derived_id("rules", 1, cause) == derived_id("rules", 1, again)
    different = [
        derived_id("rules", 1, cause),
        derived_id("rules", 2, cause),
        derived_id("rule", 1, cause),
        derived_id("rules", 1, cause, 1),
        derived_id("rules", 1, event_of(posted(id="one", source="/other"))),
        derived_id("rules", 1, "one"),
    ]
    assert len(set(different)) == len(different)
    assert uuid.UUID(different[0]).version == 5


def test_the_idempotency_key_is_of_source_and_id() -> None:
    one = event_of(posted(id="one"))
    assert one.key == event_of(posted("999", id="one", user="other")).key
    assert one.key != event_of(posted(id="one", source="/other")).key
    assert one.key.bytes == one.key_bytes == envelope.idempotency_key(one.source, "one")


def test_uuids_that_begin_with_their_time_have_neighbouring_keys() -> None:
    early, late = envelope.uuid7(), "ffffffff-ffff-7fff-bfff-ffffffffffff"
    apart = _number(early) ^ _number(late)
    assert apart == uuid.UUID(early).int ^ uuid.UUID(late).int
    assert _number(early) != _number(early, "/other")


@pytest.mark.parametrize(
    "written",
    [
        "019C5F3E-7A41-7C52-9B1E-3F2F6D0C8A11",
        "019c5f3e7a417c529b1e3f2f6d0c8a11",
        "019c5f3e-7a41-7c52-9b1e-3f2f6d0c8a1_",
        " 19c5f3e-7a41-7c52-9b1e-3f2f6d0c8a11",
        "019c5f3e-7a41-7c52-9b1e-3f2f6d0c8a11\n",
    ],
)
def test_what_is_not_written_as_a_uuid_is_another_id(written: str) -> None:
    usual = "019c5f3e-7a41-7c52-9b1e-3f2f6d0c8a11"
    assert _number(written) != _number(usual)
    assert _number(written) ^ _number(written, "/other") != _number(usual) ^ _number(
        usual, "/other"
    )


def _number(id: str, source: str = "/tests") -> int:
    return int.from_bytes(envelope.idempotency_key(source, id), "big")


def test_events_are_values() -> None:
    made = posted(id="one")
    assert event_of(made) == event_of(made)
    with pytest.raises(AttributeError):
        event_of(made).id = "two"  # type: ignore[misc]


def test_batches_keep_order_and_length() -> None:
    drafts = [posted(user=f"usr_{n % 5}") for n in range(20)]
    records = records_of(drafts)
    spoiled = [
        record._replace(value=b"{") if n % 3 == 0 else record for n, record in enumerate(records)
    ]
    outcome = decode_batch(spoiled, partitions={"bfc.ledger": 6})
    assert [str(each.position) for each in outcome] == [
        f"{each.topic}:{each.partition}:{each.offset}" for each in records
    ]
    assert [type(each).__name__ for each in outcome[:4]] == [
        *("Unreadable", "Event", "Event", "Unreadable"),
    ]
    assert outcome[0].reason.startswith(": is not JSON")  # type: ignore[union-attr]


def test_old_versions_are_read_as_the_newest() -> None:
    data = {
        "level": "full",
        "status": "submitted",
        "fields": {"name": "Asha", "documents": ["passport"]},
        "baseVersion": 3,
    }
    old, new = events_of(
        [
            draft("bfc.kyc.submitted.v1", data),
            draft(
                "bfc.kyc.submitted.v2",
                {
                    **{name: data[name] for name in ("level", "status", "baseVersion")},
                    "applicant": {"name": "Asha"},
                    "documents": ["passport"],
                },
            ),
        ]
    )
    assert (old.type, old.version, old.wire_version) == ("bfc.kyc.submitted", 2, 1)
    assert (new.version, new.wire_version) == (2, 2)
    assert old.data == new.data
    assert old.raw_data == new.raw_data
    assert NEWEST["bfc.kyc.submitted"] is TYPES["bfc.kyc.submitted.v2"]
