"""Kinds of bad records: each with a name, the record, and what must be said to be wrong with it.

`kinds.py` has them all. Those that nobody can read are told by their bytes alone (`text`,
`envelope`, `fields`, `placing`); those that a projection or its database refuses need events that
come before them (`refused`).
"""
