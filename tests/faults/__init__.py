"""Fault runs: the whole system as real processes, and what is done to them."""
