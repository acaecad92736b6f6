"""Bank statements: each format, ids that never change, and complaints that name the place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import Draft
from streams.importing.csv_file import Layout
from streams.importing.formats import FILE_BYTES_MAX, Format, detect, read
from streams.importing.postings import postings
from streams.importing.statement import Problem, Statement, UnreadableStatement
from streams.producer.delivery import encode_all

DATA = Path(__file__).parents[1] / "data"
GERMAN = Layout(columns={}, decimal=",")


def sample(name: str) -> bytes:
    return (DATA / name).read_bytes()


def drafts(statement: Statement, currency: str | None = None) -> list[Draft]:
    made = postings(statement, account="acc_1", user="usr_17", currency=currency)
    assert len(encode_all(made, "bfc")) == len(made)
    return made


def problems(data: bytes, layout: Layout | None = None) -> list[Problem]:
    with pytest.raises(UnreadableStatement) as caught:
        read(data, layout=layout)
    return caught.value.problems


def csv(text: str, **layout: str) -> Statement:
    return read(text.encode(), form=Format.CSV, layout=Layout(columns={}, **layout))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("statement.camt053.xml", Format.CAMT),
        ("statement.mt940", Format.MT940),
        ("statement.ofx", Format.OFX),
        ("statement.csv", Format.CSV),
    ],
)
def test_formats_are_told_by_content(name: str, form: Format) -> None:
    assert detect(sample(name)) is form


def test_mt940() -> None:
    made = drafts(read(sample("statement.mt940")))
    assert [(d.data["direction"], d.data["amount"], d.data["currency"]) for d in made] == [
        ("credit", "85000.00", "INR"),
        ("debit", "32000.00", "INR"),
        ("debit", "1249.50", "INR"),
        ("debit", "1249.50", "INR"),
        ("credit", "1249.50", "INR"),
    ]
    salary = made[0]
    assert salary.time.isoformat() == "2026-03-02T12:00:00+00:00"
    assert salary.user_id == "usr_17"
    assert salary.subject == "acc_1"
    assert salary.data["reference"] == "BFC900001"
    assert salary.data["valueDate"] == "2026-03-02"
    assert "Sahyadri" in salary.data["description"]


def test_ofx() -> None:
    made = drafts(read(sample("statement.ofx")))
    assert [(d.data["direction"], d.data["amount"], d.data["reference"]) for d in made] == [
        ("credit", "5200.00", "A-1001"),
        ("debit", "1450.00", "A-1002"),
        ("debit", "23.75", "A-1003"),
    ]
    assert made[0].data["counterparty"] == "Wattle Mining"


def test_camt() -> None:
    made = drafts(read(sample("statement.camt053.xml")))
    assert [(d.data["direction"], d.data["amount"], d.data["status"]) for d in made] == [
        ("credit", "85000.00", "posted"),
        ("debit", "32000.00", "posted"),
        ("debit", "1249.50", "pending"),
    ]
    assert made[0].data["counterparty"] == "Sahyadri Software"
    assert made[1].data["counterparty"] == "Harbour Homes"
    assert made[2].data["description"] == "Card payment Green Basket"
    assert made[2].time.date().isoformat() == "2026-03-31"


def test_csv() -> None:
    made = drafts(read(sample("statement.csv"), layout=GERMAN))
    assert [(d.data["direction"], d.data["amount"]) for d in made] == [
        ("credit", "85000.00"),
        ("debit", "32000.00"),
        ("debit", "1249.50"),
        ("debit", "1249.50"),
    ]


def test_csv_with_two_columns_and_another_date() -> None:
    text = (
        "Posted on,Details,Withdrawal,Deposit,Extra\n"
        '31/03/2026,Tea,"1,24,999.50",,x\n'
        ",,,,\n"
        "01/04/2026,Pay,,10,\n"
    )
    statement = read(
        text.encode(),
        layout=Layout(columns={"date": "Posted on"}, date_format="%d/%m/%Y"),
    )
    assert [entry.amount for entry in statement.entries] == [Decimal("-124999.50"), Decimal(10)]
    assert statement.entries[1].line == 4
    assert drafts(statement, "INR")[0].data["description"] == "Tea"


@pytest.mark.parametrize("name", ["statement.camt053.xml", "statement.mt940", "statement.ofx"])
def test_twice_gives_the_same_ids(name: str) -> None:
    first, again = drafts(read(sample(name))), drafts(read(sample(name)))
    assert first == again
    assert len({draft.id for draft in first}) == len(first)


def test_a_longer_statement_gives_its_beginning_the_same_ids() -> None:
    whole = sample("statement.csv")
    shorter = b"\n".join(whole.splitlines()[:4])
    all_ids = [draft.id for draft in drafts(read(whole, layout=GERMAN))]
    assert [draft.id for draft in drafts(read(shorter, layout=GERMAN))] == all_ids[:3]


def test_equal_entries_are_told_apart_and_other_accounts_too() -> None:
    statement = read(sample("statement.mt940"))
    made = drafts(statement)
    assert made[2].data["amount"] == made[3].data["amount"]
    assert made[2].id != made[3].id
    other = postings(statement, account="acc_2", user="usr_17", currency=None)
    assert not {draft.id for draft in made} & {draft.id for draft in other}


def test_the_same_in_two_formats_has_the_same_id_where_the_bank_names_it() -> None:
    swift, comma = read(sample("statement.mt940")), read(sample("statement.csv"), layout=GERMAN)
    assert drafts(swift)[0].id == drafts(comma)[0].id


def test_broken_camt_names_line_and_field() -> None:
    text = sample("statement.camt053.xml")
    broken = (
        text.replace(b'"INR">32000.00', b'"INR">32 thousand')
        .replace(b"DBIT", b"MINUS", 1)
        .replace(b"<Dt>2026-03-02</Dt></BookgDt>", b"<Dt>March</Dt></BookgDt>")
    )
    assert [(one.line, one.field) for one in problems(broken)] == [(12, "BookgDt"), (22, "Amt")]
    (no_sign,) = problems(text.replace(b"DBIT", b"MINUS", 1))
    assert (no_sign.line, no_sign.field) == (21, "CdtDbtInd")
    (cut,) = problems(text[: len(text) // 2])
    assert cut.line is not None
    assert cut.field == "XML"


def test_hostile_xml_is_refused() -> None:
    bomb = (
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Document><BkToCstmrStmt>&a;</BkToCstmrStmt></Document>'
    )
    (problem,) = problems(bomb)
    assert "refused" in problem.message


def test_several_accounts_in_camt_must_be_chosen_from() -> None:
    text = sample("statement.camt053.xml").decode()
    stmt = text[text.index("<Stmt>") : text.index("</Stmt>") + len("</Stmt>")]
    both = text.replace(stmt, stmt + stmt.replace("IN00BFCB0001234567", "IN00OTHER")).encode()
    (problem,) = problems(both)
    assert "--statement" in problem.message
    assert len(read(both, account="IN00OTHER").entries) == 3
    with pytest.raises(UnreadableStatement, match="IN99"):
        read(both, account="IN99")


def test_broken_mt940_names_line_and_field() -> None:
    broken = sample("statement.mt940").replace(b"0303D32000,00", b"0303D32.000")
    assert [(one.line, one.field) for one in problems(broken)] == [(8, ":61: amount")]
    broken = sample("statement.mt940").replace(b"2603030303D", b"2603030303X")
    assert [(one.line, one.field) for one in problems(broken)] == [(8, ":61: debit/credit mark")]


def test_several_accounts_in_mt940_are_refused() -> None:
    text = sample("statement.mt940")
    assert problems(text + text.replace(b"0001234567", b"0007654321"))


def test_broken_ofx_names_line_and_field() -> None:
    found = problems(sample("statement.ofx").replace(b"-23.75", b"-23.x5"))
    assert (found[0].line, found[0].field) == (20, "TRNAMT")


def test_broken_csv_names_line_and_field() -> None:
    text = sample("statement.csv").replace(b"2026-03-03", b"3.3.2026")
    found = problems(text.replace(b"-1.249,50", b"-1.249.50", 1), GERMAN)
    assert [(one.line, one.field) for one in found] == [(3, "date"), (4, "amount")]
    assert {one.field for one in problems(b"When,What\n1,2\n")} == {"date", "amount"}
    (named,) = [
        one
        for one in problems(b"Date,Amount\n", Layout(columns={"reference": "Nr"}))
        if one.field == "reference"
    ]
    assert named.line == 1


def test_a_mistaken_decimal_mark_is_not_believed() -> None:
    assert problems(b"Date;Amount\n2026-01-01;85.000,00\n")
    # Here the number could be either; the currency's two decimals tell.
    with pytest.raises(UnreadableStatement, match="decimal mark"):
        drafts(csv("Date;Amount\n2026-01-01;85.123\n"), "INR")
    assert drafts(csv("Date;Amount\n2026-01-01;85,123\n"), "JPY")[0].data["amount"] == "85123"


@given(
    st.integers(0, 10**15),
    st.integers(0, 99),
    st.sampled_from([(".", ","), (",", "."), (".", "'"), (",", " ")]),
)
def test_csv_reads_back_what_was_written(whole: int, cents: int, marks: tuple[str, str]) -> None:
    decimal, group = marks
    written = f"{whole:,}".replace(",", group) + f"{decimal}{cents:02}"
    statement = csv(f"Date;Amount\n2026-01-01;-{written}\n", decimal=decimal, delimiter=";")
    assert statement.entries[0].amount == -(Decimal(whole) + Decimal(cents) / 100)


def test_the_currency_must_be_known_and_one() -> None:
    plain = csv("Date,Amount\n2026-01-01,5\n")
    with pytest.raises(UnreadableStatement, match="--currency"):
        drafts(plain)
    assert drafts(plain, "AUD")[0].data["currency"] == "AUD"
    with pytest.raises(UnreadableStatement, match=r"line 2, currency: USD, but .* AUD"):
        drafts(csv("Date,Amount,Currency\n2026-01-01,5,USD\n"), "AUD")


def test_a_file_out_of_all_proportion_is_refused() -> None:
    assert problems(b"x" * (FILE_BYTES_MAX + 1))


def test_nothing_recognisable_is_refused() -> None:
    assert problems(b"\x00\x01\x02 nothing of the kind")
    assert problems(b"")
