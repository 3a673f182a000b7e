"""`mfi` and `python -m bot`: the command line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run one command and exit with its code."""
    from bot.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
