"""What the command line prints: people look before they read. `--json` output is made from the same values."""
