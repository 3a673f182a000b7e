"""One module per mail system, read side and act side."""
