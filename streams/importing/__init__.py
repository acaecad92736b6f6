"""Bank statements (CAMT.053, MT940, OFX, CSV) become postings in the log."""
