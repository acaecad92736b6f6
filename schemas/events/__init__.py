"""The data of all events: one pydantic model per type and version, the only source of fields."""
