"""`make book`: fetch the data, execute what changed, build the site with warnings as errors."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from fmbook import archives
from tools import vendor
from tools.execution import ROOT, is_stale, journal

HTML = ROOT / "_build/html"
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MKL_NUM_THREADS": "1",
}


def pages() -> list[str]:
    """Every page of the book in the order of `_toc.yml`, as paths without suffix."""

    def below(node: dict) -> list[str]:
        mine = [node["file"]] if "file" in node else []
        children = [c for key in ("parts", "chapters", "sections") for c in node.get(key, [])]
        return mine + [page for child in children for page in below(child)]

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    return [toc["root"], *below(toc)]


def notebooks() -> list[Path]:
    """The pages that are notebooks."""
    files = [ROOT / f"{page}.ipynb" for page in pages()]
    return [file for file in files if file.exists()]


def fetch_all() -> None:
    """Fetch all data sets and what the site ships, side by side."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(archives.fetch, name) for name in archives.names()]
        jobs.append(pool.submit(vendor.main))
        for job in jobs:
            job.result()


def execute(stale: list[Path]) -> None:
    """Run notebooks through nbval, two at a time; what they printed is kept for the site."""
    print(
        f"executing {len(stale)} notebook(s): {', '.join(file.stem for file in stale)}", flush=True
    )
    flags = ["-p", "tools.execution", "--nbval-lax", "--nbval-cell-timeout", "300", "-q"]
    workers = ["-n", str(min(2, len(stale))), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *flags, *workers, "--no-header", *map(str, stale)]
    quiet = os.environ | ONE_THREAD | {"TQDM_DISABLE": "1"}
    if subprocess.run(command, cwd=ROOT, env=quiet).returncode:
        sys.exit("a notebook failed: see above; the site was not built")


def build() -> None:
    """Run Jupyter Book; every warning is an error."""
    program = Path(sys.executable).with_name("jupyter-book")
    command = [
        str(program),
        "build",
        str(ROOT),
        "--path-output",
        str(ROOT),
        "-W",
        "-n",
        "--keep-going",
        "-q",
    ]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("the site has warnings (they count as errors): see above")
    missing = [page for page in pages() if not (HTML / f"{page}.html").exists()]
    if missing:
        sys.exit(f"pages were not built: {', '.join(missing)}")


def main() -> None:
    start = time.monotonic()
    try:
        fetch_all()
    except archives.DataError as error:
        sys.exit(str(error))
    stale = [file for file in notebooks() if is_stale(file)]
    if stale:
        execute(stale)
    build()
    for name, entry in sorted(journal().items()):
        if name.startswith("chapters/") and (ROOT / name).exists():
            print(f"  {entry['cpu_seconds']:6.1f} CPU-s  {name}")
    print(f"the book is built in {time.monotonic() - start:.1f} s: open {HTML / 'index.html'}")


if __name__ == "__main__":
    main()
