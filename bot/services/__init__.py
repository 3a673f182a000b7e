"""Use cases: each is one short transaction, or a sequence of them that survives a kill between any two."""
