"""`make test`, once the book is built: every test, doctest and solution notebook.

What a browser is needed for is skipped, loudly, where there is none, but never in CI.
"""

import os
import subprocess
import sys

from tools.book import ONE_THREAD
from tools.execution import ROOT


def main() -> None:
    paths = ["tests", "solutions", "fmbook"]
    flags = [
        "-p",
        "tools.execution",
        "--nbval-lax",
        "--nbval-cell-timeout",
        "120",
        "--doctest-modules",
    ]
    workers = ["-n", "2", "--dist", "loadfile"]
    shown = ["-q", "-rsfE", "--durations", "15", "--no-header"]
    command = [sys.executable, "-m", "pytest", *flags, *workers, *shown, *sys.argv[1:], *paths]
    sys.exit(subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD).returncode)


if __name__ == "__main__":
    main()
