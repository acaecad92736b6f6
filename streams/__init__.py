"""Kafka in and out. Faust lives only here."""
