"""The whole corpus."""

from __future__ import annotations

from tests.corpus import envelope, fields, placing, text
from tests.corpus.kind import Kind

KINDS: tuple[Kind, ...] = (*text.kinds(), *envelope.kinds(), *fields.kinds(), *placing.kinds())
