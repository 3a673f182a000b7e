"""The network shell of a probe: every failure of a peer is data, never an exception."""
