"""The peer job: one task, done by our engine, by frameworks, and by hand."""
