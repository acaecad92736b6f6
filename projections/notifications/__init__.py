"""Notifications: what happened to a person, gathered as they prefer."""
