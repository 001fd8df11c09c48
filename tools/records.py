"""`make records`: repeat the recorded runs whose code has changed since, or all with --all."""

import sys
import time

from fmbook import records


def main() -> None:
    todo = [stem for stem in records.recipes() if "--all" in sys.argv or records.stale(stem)]
    if not todo:
        print("every record is up to date")
    for stem in todo:
        print(f"recording {stem} ...", flush=True)
        start = time.monotonic()
        file = records.make(stem)
        seconds = time.monotonic() - start
        print(f"  {file.name}: {file.stat().st_size / 1000:.0f} kB in {seconds:.0f} s")


if __name__ == "__main__":
    main()
