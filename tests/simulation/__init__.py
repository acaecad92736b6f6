"""Whole histories of an installation in one thread, decided by a seed (see README.md)."""
