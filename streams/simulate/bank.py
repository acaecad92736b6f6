"""BFC: bank accounts, postings and transfers, with the balances kept as the bank would."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from streams.simulate.engine import MINUTE, SECOND, Cause, Engine

CORE, TRANSFERS = "/bfc/core-banking", "/bfc/transfers"
INSTITUTION = "BFC Bank"
NOTHING = Decimal(0)


@dataclass(slots=True)
class BankAccount:
    """One account. `floor` is the lowest balance that a debit may leave behind."""

    account: str
    user: str
    kind: str
    currency: str
    balance: Decimal
    floor: Decimal
    sequence: int = 1
    postings: int = 0


@dataclass(frozen=True, slots=True)
class Posting:
    """What a posting tells beside its amount; None is left out of the event."""

    category: str
    merchant: str | None = None
    mcc: str | None = None
    counterparty: str | None = None
    description: str | None = None
    transfer: str | None = None
    reverses: str | None = None

    def fields(self) -> dict[str, str]:
        """The fields that are there, as they go on the wire (all are one word)."""
        return {
            name: value
            for name in ("category", "merchant", "mcc", "counterparty", "description",
                         "transfer", "reverses")
            if (value := getattr(self, name)) is not None
        }  # fmt: skip


@dataclass(slots=True)
class Transfer:
    """Money on its way between two accounts of one currency."""

    transfer: str
    sender: BankAccount
    receiver: BankAccount
    amount: Decimal
    rail: str
    reference: str

    def fields(self, **more: str) -> dict[str, str]:
        """The event's data."""
        return {
            "transfer": self.transfer,
            "fromAccount": self.sender.account,
            "toAccount": self.receiver.account,
            "amount": str(self.amount),
            "currency": self.sender.currency,
            "rail": self.rail,
            "reference": self.reference,
            **more,
        }


class Bank:
    """Says what happens to bank accounts; refuses what a bank would refuse."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._transfers = 0

    def open(self, account: BankAccount, name: str, country: str, **terms: str) -> Cause:
        """The account exists from now on, with the balance it carries as its opening balance."""
        data: dict[str, Any] = {
            "account": account.account,
            "kind": account.kind,
            "currency": account.currency,
            "name": name,
            "institution": INSTITUTION,
            "country": country,
            "openingBalance": str(account.balance),
            **terms,
        }
        return self._say("bfc.account.opened.v1", account, data, None)

    def update(self, account: BankAccount, changes: dict[str, Any]) -> None:
        """Some of the account's details change; `baseVersion` is the version that was changed."""
        data = {
            "account": account.account,
            "changes": changes,
            "baseVersion": account.sequence - 1,
        }
        self._say("bfc.account.updated.v1", account, data, None)

    def close(self, account: BankAccount, reason: str) -> None:
        """The account is closed; the caller has emptied it."""
        data = {"account": account.account, "reason": reason}
        self._say("bfc.account.closed.v1", account, data, None)

    def credit(
        self, account: BankAccount, amount: Decimal, posting: Posting, cause: Cause | None = None
    ) -> str:
        """Money arrives. Returns the transaction's name."""
        return self._post(account, "credit", amount, posting, cause)

    def debit(
        self, account: BankAccount, amount: Decimal, posting: Posting, cause: Cause | None = None
    ) -> str | None:
        """Money leaves, unless that would leave less than the floor: then None, and no event."""
        if account.balance - amount < account.floor:
            return None
        return self._post(account, "debit", amount, posting, cause)

    def charge(self, account: BankAccount, amount: Decimal, posting: Posting) -> str:
        """The bank takes what is its own (interest, fees) whatever is left."""
        return self._post(account, "debit", amount, posting, None)

    def hold(self, account: BankAccount, amount: Decimal, posting: Posting, delay: int) -> None:
        """A pending debit, posted under the same transaction after `delay` ms if it still fits."""
        if account.balance - amount < account.floor:
            return
        transaction = self._next(account)
        held = self._post(account, "debit", amount, posting, None, transaction, "pending")
        self._engine.after(delay, self._settle, account, amount, posting, held)

    def _settle(self, account: BankAccount, amount: Decimal, posting: Posting, held: str) -> None:
        if account.balance - amount >= account.floor:
            self._post(account, "debit", amount, posting, None, held)

    def _post(
        self,
        account: BankAccount,
        direction: str,
        amount: Decimal,
        posting: Posting,
        cause: Cause | None,
        transaction: str | None = None,
        status: str = "posted",
    ) -> str:
        transaction = transaction or self._next(account)
        data = {
            "transaction": transaction,
            "account": account.account,
            "direction": direction,
            "amount": str(amount),
            "currency": account.currency,
            "status": status,
            **posting.fields(),
        }
        if status == "posted":
            account.balance += amount if direction == "credit" else -amount
            data["balanceAfter"] = str(account.balance)
        self._say("bfc.transaction.posted.v1", account, data, cause)
        return transaction

    def _next(self, account: BankAccount) -> str:
        account.postings += 1
        return f"txn_{account.account[4:]}_{account.postings}"

    def _say(
        self, kind: str, account: BankAccount, data: dict[str, Any], cause: Cause | None
    ) -> Cause:
        sequence = account.sequence
        account.sequence += 1
        return self._engine.say(
            kind,
            CORE,
            data,
            user=account.user,
            subject=account.account,
            sequence=sequence,
            cause=cause,
        )

    # Transfers: the workflow's events, and at its end the two postings that move the money.

    def initiate(
        self,
        sender: BankAccount,
        receiver: BankAccount,
        amount: Decimal,
        rail: str,
        reference: str,
    ) -> tuple[Transfer, Cause]:
        """A transfer is asked for; nothing moves yet. Both accounts have one currency."""
        if sender.currency != receiver.currency:
            raise ValueError(f"transfer from {sender.currency} to {receiver.currency}")
        self._transfers += 1
        transfer = Transfer(f"trf_{self._transfers}", sender, receiver, amount, rail, reference)
        return transfer, self._say_transfer("initiated", transfer, None)

    def standing_order(
        self, sender: BankAccount, receiver: BankAccount, amount: Decimal, reference: str
    ) -> None:
        """A transfer that nobody has to confirm."""
        if amount <= NOTHING:
            return
        transfer, cause = self.initiate(sender, receiver, amount, "internal", reference)
        self._engine.after(SECOND, self.authenticate, transfer, cause)
        self._engine.after(3 * SECOND, self.complete, transfer, cause)

    def authenticate(self, transfer: Transfer, cause: Cause) -> None:
        """The sender has proved who they are."""
        self._say_transfer("authenticated", transfer, cause)

    def abandon(self, transfer: Transfer, cause: Cause) -> None:
        """The sender walked away; the bank gives up after a while."""
        self._engine.after(15 * MINUTE, self._fail, transfer, cause, "timeout")

    def refuse(self, transfer: Transfer, cause: Cause) -> None:
        """The receiving bank sends it back."""
        self._fail(transfer, cause, "rejected_by_beneficiary_bank")

    def complete(self, transfer: Transfer, cause: Cause) -> None:
        """Both postings, or a failure when the money is not there."""
        sender, receiver, amount = transfer.sender, transfer.receiver, transfer.amount
        if sender.balance - amount < sender.floor:
            self._fail(transfer, cause, "insufficient_funds")
            return
        done = self._say_transfer("completed", transfer, cause)
        category = "transfer" if sender.user != receiver.user else _between(sender, receiver)
        for account, other, direction in (
            (sender, receiver, "debit"),
            (receiver, sender, "credit"),
        ):
            posting = Posting(
                category=category,
                counterparty=other.account,
                description=transfer.reference,
                transfer=transfer.transfer,
            )
            self._post(account, direction, amount, posting, done)

    def _fail(self, transfer: Transfer, cause: Cause, failure: str) -> None:
        self._say_transfer("failed", transfer, cause, failure=failure)

    def _say_transfer(
        self, step: str, transfer: Transfer, cause: Cause | None, **more: str
    ) -> Cause:
        return self._engine.say(
            f"bfc.transfer.{step}.v1",
            TRANSFERS,
            transfer.fields(**more),
            user=transfer.sender.user,
            subject=transfer.transfer,
            cause=cause,
        )


def _between(sender: BankAccount, receiver: BankAccount) -> str:
    if receiver.kind == "loan":
        return "loan_payment"
    return "card_payment" if receiver.kind == "credit_card" else "savings"
