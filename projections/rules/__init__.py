"""Rule triggers: what people asked to happen when something happens."""
