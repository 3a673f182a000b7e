"""The mail-flow incident bot. How its layers depend on each other: README, Architecture."""
