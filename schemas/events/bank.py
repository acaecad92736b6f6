"""What the bank (BFC) says: accounts, postings, transfers, KYC."""

from __future__ import annotations

from typing import Literal

from schemas.events.fields import (
    Amount,
    Balance,
    Count,
    Currency,
    Data,
    Day,
    Fee,
    Free,
    Id,
    Limit,
    Number,
    Text,
)


class AccountOpened(Data):
    """An account exists from now on. What is owed is a negative opening balance."""

    account: Id
    kind: Literal[
        "savings",
        "current",
        "fixed_deposit",
        "recurring_deposit",
        "credit_card",
        "loan",
        "wallet",
    ]
    currency: Currency
    name: Text
    institution: Text
    country: Text
    opening_balance: Balance | None = None
    credit_limit: Limit | None = None
    interest_rate: Number | None = None
    maturity: Day | None = None


class AccountUpdated(Data):
    """Fields of an account changed; `changes` names them as they are named at the opening."""

    account: Id
    changes: Free
    base_version: Count | None = None


class AccountClosed(Data):
    """The account is closed; it stays listed with its figures."""

    account: Id
    reason: Text | None = None


class TransactionPosted(Data):
    """The only event that moves a bank balance, and only when its status is `posted`."""

    transaction: Id
    account: Id
    direction: Literal["credit", "debit"]
    amount: Amount
    currency: Currency
    status: Literal["pending", "posted"]
    balance_after: Balance | None = None
    category: Text | None = None
    merchant: Text | None = None
    mcc: Text | None = None
    counterparty: Text | None = None
    description: Text | None = None
    transfer: Id | None = None
    reverses: Id | None = None
    value_date: Day | None = None


class Transfer(Data):
    """A step of a transfer's workflow; the two postings move the money."""

    transfer: Id
    from_account: Id
    to_account: Id
    amount: Amount
    currency: Currency
    fee: Fee | None = None
    rail: Text | None = None
    reference: Text | None = None
    failure: Text | None = None


class TransferInitiated(Transfer):
    """The person asked for a transfer."""


class TransferAuthenticated(Transfer):
    """The person proved that it is them."""


class TransferCompleted(Transfer):
    """The money has arrived."""


class TransferFailed(Transfer):
    """The transfer came to nothing; `failure` says why."""


class KycStep(Data):
    """A step of the check of a person's identity."""

    level: Text
    status: Text
    fields: Free
    base_version: Count | None = None
    reason: Text | None = None


class KycSubmitted1(KycStep):
    """Version 1: what the person says and the papers they hand in are mixed in `fields`."""


class KycSubmitted(Data):
    """Version 2: what the person says of themselves, apart from the papers they hand in."""

    level: Text
    status: Text
    applicant: Free
    documents: list[Text]
    base_version: Count | None = None
    reason: Text | None = None


class KycApproved(KycStep):
    """The identity is established at this level."""


class KycRejected(KycStep):
    """The identity could not be established; `reason` says why."""


class KycUpdated(KycStep):
    """What is known of the person changed."""
