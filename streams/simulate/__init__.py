"""BFC, Vyomo and the markets as they would behave: a seeded, exact stream of events."""
