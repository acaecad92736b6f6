"""The append projection for analysts: every event, and typed rows of it, in ClickHouse."""
