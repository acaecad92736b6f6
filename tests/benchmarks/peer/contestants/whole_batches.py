"""aiokafka handing over Kafka's record batches whole: no object for each record.

Written for the version that `requirements.txt` pins. Checksums, aborted transactions and control
batches are treated as aiokafka does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException


@dataclass(slots=True)
class WholeBatch:
    """The values of one record batch, from `offset` up to but not including `end`."""

    topic: str
    partition: int
    offset: int
    end: int
    values: list[bytes]


class _WholeBatches(fetcher.PartitionRecords):  # type: ignore[misc]
    def _unpack_records(self) -> Iterator[WholeBatch]:
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            start = self.next_fetch_offset
            if self._is_aborted(batch) or batch.is_control_batch:
                self.next_fetch_offset = batch.next_offset
                continue
            if batch.base_offset >= start:
                start = batch.base_offset
                values = [record.value for record in batch]
            else:
                values = [record.value for record in batch if record.offset >= start]
            self.next_fetch_offset = batch.next_offset
            if values:
                yield WholeBatch(*self._tp, start, batch.next_offset, values)

    def _is_aborted(self, batch: Any) -> bool:
        if self._isolation_level != fetcher.READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)


def install() -> None:
    """Have every consumer of this process do so."""
    fetcher.PartitionRecords = _WholeBatches
