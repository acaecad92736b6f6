"""Net worth: what a person owns and owes, now and at the end of any past day."""
