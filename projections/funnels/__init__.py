"""Funnels: definitions as data, answers by query."""
