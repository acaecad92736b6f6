"""Programs that do the peer job; each runs for itself, in an environment without our product."""
