"""`python -m knowledge`: print the coverage table of the articles; exit 1 if one of them can't be reached."""

from __future__ import annotations

import sys

from knowledge.articles import Articles, articles
from knowledge.coverage import table, unreachable


def main(known: Articles) -> int:
    """Print the table, then what is wrong with it."""
    rows = [("code", "title", "owner", "found by", "file")]
    rows += [(line.codes, line.title, line.owner, line.reached, line.file) for line in table(known)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    problems = unreachable(known)
    for problem in problems:
        sys.stderr.write(problem + "\n")
    sys.stdout.write(f"{len(rows) - 1} articles; {len(problems)} problems\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(articles()))
