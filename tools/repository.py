"""The address of the repository: one place of configuration, and every place that repeats it.

`python -m tools.repository` prints it; `python -m tools.repository set URL` writes it everywhere:
Colab opens notebooks by it, and the notebooks install the library from it.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = "_config.yml"
FIELD = re.compile(r"^(repository:[^\n]*\n(?:[ \t]+[^\n]*\n)*?[ \t]+url:)[ \t]*(\S*)", re.M)
HOME = re.compile(r"(?:https://|(?:ssh://)?git@)github\.com[:/]([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
REPEATED = (  # how other files write the address
    re.compile(r"(?<=colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/)"),
    re.compile(r"(?<=git\+https://github\.com/)[\w.-]+/[\w.-]+?(?=@|\.git|[\"'\s]|$)"),
    re.compile(r"(?<=repository-code: https://github\.com/)[\w.-]+/[\w.-]+"),
    re.compile(r"(?<=repository-code: \"https://github\.com/)[\w.-]+/[\w.-]+"),
    re.compile(r"(?<=git clone https://github\.com/)[\w.-]+/[\w.-]+"),
)
FOLDERS = ("chapters", "solutions", "exercises", "fmbook", "tools")
SUFFIXES = (".ipynb", ".md", ".py", ".html", ".toml", ".cff")


def normal(address):
    """An address as a browser writes it.

    >>> normal("git@github.com:someone/book.git")
    'https://github.com/someone/book'

    Raises:
        ValueError: it is not on GitHub, from where Colab opens notebooks.
    """
    found = HOME.fullmatch(address.strip())
    if not found:
        raise ValueError(f"Colab needs a repository on GitHub, and this is none: {address!r}")
    return f"https://github.com/{found[1]}/{found[2]}"


def address(root=ROOT):
    """The configured address, or that of the git remote `origin` where none is configured."""
    found = FIELD.search((root / CONFIG).read_text("utf8"))
    if found and found[2].strip("'\""):
        return normal(found[2].strip("'\""))
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise ValueError(f"{CONFIG} has no repository.url, and git has no remote named origin")
    return normal(ran.stdout)


def files(root=ROOT):
    """Every file that may repeat the address."""
    tops = [file for file in root.iterdir() if file.suffix in SUFFIXES]
    deep = [f for name in FOLDERS for f in (root / name).rglob("*") if f.suffix in SUFFIXES]
    skipped = ("vendor", ".ipynb_checkpoints", "__pycache__")
    mine = Path(__file__).name
    return sorted(f for f in tops + deep if not set(skipped) & set(f.parts) and f.name != mine)


def mentions(root=ROOT):
    """Where the address is repeated: (file, address) as written, `https://github.com/...`."""
    found = []
    for file in files(root):
        text = file.read_text("utf8")
        for pattern in REPEATED:
            found += [(file, f"https://github.com/{hit}") for hit in pattern.findall(text)]
    return found


def write(new, root=ROOT):
    """Write the address `new` to every place; returns the files that changed."""
    new = normal(new)
    slug, changed = new.removeprefix("https://github.com/"), []
    old = re.compile(re.escape(address(root)) + r"(?![\w-]|\.\w)")
    for file in [root / CONFIG, *files(root)]:
        before = after = file.read_text("utf8")
        if file.name == CONFIG:
            after = FIELD.sub(rf"\g<1> {new}", after)
        for pattern in REPEATED:
            after = pattern.sub(slug, after)
        after = old.sub(new, after)
        if after != before:
            file.write_text(after, "utf8")
            changed.append(file)
    return changed


def main(arguments):
    """Print the address, or set it."""
    if not arguments:
        print(address())
    elif len(arguments) == 2 and arguments[0] == "set":
        for file in write(arguments[1]):
            print(f"wrote {file.relative_to(ROOT)}")
        print("now run `make exercises`: the released notebooks carry checksums of their cells")
    else:
        sys.exit("usage: python -m tools.repository [set URL]")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
