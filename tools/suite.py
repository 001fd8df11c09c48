"""`make test`, once the book is built: every test, doctest and solution notebook.

What a browser is needed for is skipped, loudly, where there is none, but never in CI.
"""

import os
import subprocess
import sys

from tools.book import ONE_THREAD
from tools.execution import ROOT

# Files in their order and not by their number of tests: the longest have few, and would come last.
SPREAD = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def run(*more: str) -> int:
    """Run some of the tests; how pytest ended."""
    paths = ["tests", "solutions", "fmbook"]
    flags = [
        "-p",
        "tools.execution",
        "--nbval-lax",
        "--nbval-cell-timeout",
        "120",
        "--doctest-modules",
    ]
    shown = ["-q", "-rsfE", "--durations", "15", "--no-header"]
    command = [sys.executable, "-m", "pytest", *flags, *more, *shown, *sys.argv[1:], *paths]
    return subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD).returncode


def main() -> None:
    """All tests two at a time, then one by one those that time what they do."""
    together = run("-m", "not alone", *SPREAD)
    sys.exit(together or run("-m", "alone"))


if __name__ == "__main__":
    main()
