"""Pure policy: no clock, no I/O, no randomness; `now` is an argument."""
