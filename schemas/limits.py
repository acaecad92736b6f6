"""Every bound on what travels, in one place, with the reason for its size."""

from __future__ import annotations

from datetime import timedelta

#: One event. Large enough for a statement's worth of free fields, small enough that a batch of
#: hundreds fits in memory many times over.
event_size_bytes_max = 256 * 1024

#: One text (a member's name counts as one). Nothing a person reads in a line is longer.
text_length_max = 4_000

#: Arrays and objects inside each other, the event itself counted as the first.
nesting_depth_max = 64

#: `id`, `correlationid` and `causationid`, in code points.
id_length_max = 128

#: How far the event time may lie ahead of ingestion: a clock in the wrong time zone is tolerated,
#: a wrong year is not.
time_ahead_max = timedelta(hours=24)

#: Years of event time, both included.
time_year_min = 1970
time_year_max = 2199

#: Digits of a decimal before and after the point (crypto has 18 decimals).
decimal_integer_digits_max = 20
decimal_fraction_digits_max = 18

#: Significant digits of exact arithmetic: the product of two decimals has 76, sums need a few more.
arithmetic_digits = 100

#: JSON integers are kept in 64-bit columns.
integer_max = 2**63 - 1

#: Largest record batch of a source topic (the brokers' own default). It is larger than an event,
#: so that an oversized event arrives and is answered with a dead letter instead of vanishing.
source_record_bytes_max = 1_048_588

#: A dead letter is its source record plus headers that say why.
dead_letter_headroom_bytes = 64 * 1024
dead_letter_record_bytes_max = source_record_bytes_max + dead_letter_headroom_bytes

#: Partitions of every topic, so that one person's events share a partition number.
partitions_default = 12
partitions_embedded = 6

#: Keys whose partition is remembered, so that murmur2 runs once per key and not once per event.
partition_cache_keys_max = 200_000

#: Sources whose hash is remembered: installations have some dozens.
sources_cached_max = 10_000

assert arithmetic_digits >= 2 * (decimal_integer_digits_max + decimal_fraction_digits_max) + 4
assert source_record_bytes_max > event_size_bytes_max
assert text_length_max < event_size_bytes_max
