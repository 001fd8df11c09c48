"""`make chapter era=features stem=naive_bayes`: lay out a new chapter's files, ready to fill.

The result fails the suite until it is filled: that is the list of what is left to do. No file that
exists is touched. The exercise is generated later, by `make exercises`.
"""

import re
import sys
from pathlib import Path

import yaml

import fmbook
from fmbook.plot import palette
from tools.execution import ROOT
from tools.notebook import to_notebook

SETUP = """# %% tags=["hide-cell"]
# In Colab this installs the book's library; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps "git+{url}@v{version}"
"""
CHAPTER = """# %% [markdown]
# # {title}
#
# After this chapter you can ...
#
# **75 minutes** to read and run, **at most 25 CPU-seconds** on 2 cores.
# Builds on: ... [Exercise]({colab}/exercises/{era}/{stem}.ipynb).

{setup}
# %%
from fmbook import plot
from fmbook.{era} import {stem}
from fmbook.source import source

# %% [markdown]
# ## The problem
#
# Run the previous method where it fails. No definition yet.
#
# ## In one picture
#
# ## By hand
#
# > **Predict.** A falsifiable number, or three options, each a real misconception.
#
# ## The mathematics
#
# ## Build it
#
# ## Does it do what we claim?
#
# ## How it came about
#
# ## Where it breaks
#
# ## What remains unsolved
#
# ## Summary
"""
MODULE = '''"""One sentence: the idea that this module holds. Left out: what a reader should not look for."""

__all__ = ["{stem}"]


def {stem}() -> None:
    """One sentence of the theory, in the paper's words.

    Shapes in the legend's letters, units, what is raised.

    Source: author2000word, section 1, equation 1.
    """
    raise NotImplementedError("fmbook/{era}/{stem}.py is not written yet")
'''
SOLUTION = """# %% [markdown]
# # Exercise: {title}
#
# [Open in Colab]({colab}/exercises/{era}/{stem}.ipynb)

{setup}
# %%
from fmbook.checks import expect, rng

# %% [markdown]
# ## Task 1: {title} (3 points, difficulty 1, 15 minutes)
#
# Why, in a sentence. The contract: shapes, what must not happen, a worked example with numbers.
#
# <details><summary>Hint 1: a question</summary></details>
# <details><summary>Hint 2: the formula with shapes</summary></details>
# <details><summary>Hint 3: pseudocode</summary></details>

# %% nbgrader={{"schema_version": 3, "grade": false, "solution": true, "locked": false, "task": false, "grade_id": "{stem}"}}
def {stem}():
    ### BEGIN SOLUTION
    raise NotImplementedError("fmbook/{era}/{stem}.py is not written yet")
    ### END SOLUTION

# %% nbgrader={{"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 0, "grade_id": "{stem}-check-example"}}
expect({stem}(), 0.0, what="{stem}", mistakes={{}})

# %% nbgrader={{"schema_version": 3, "grade": true, "solution": false, "locked": true, "task": false, "points": 3, "grade_id": "{stem}-hidden-fresh"}}
# Checked with fresh inputs: the same contract.
### BEGIN HIDDEN TESTS
expect({stem}(), rng().random(), what="{stem}", mistakes={{}})
### END HIDDEN TESTS
"""
TESTS = '''"""{title}: the theory said aloud. Oracle, property, worked example, limits."""

from fmbook.{era}.{stem} import {stem}


def test_worked_example() -> None:
    assert {stem}() is not None
'''
ANSWERS = '''"""Wrong and right answers to the exercise of {era}/{stem}."""

from tests.bank import right, wrong


@wrong("{stem}", cell="{stem}-hidden-fresh", says="the sentence that names the mistake")
def forgets_something():
    return 0.0


@right("{stem}")
def in_another_style():
    raise NotImplementedError
'''

FILES = {
    "chapters/{era}/{stem}.py": CHAPTER,
    "solutions/{era}/{stem}.py": SOLUTION,
    "fmbook/{era}/{stem}.py": MODULE,
    "tests/{era}/test_{stem}.py": TESTS,
    "tests/{era}/answers_{stem}.py": ANSWERS,
}


def _words(era: str, stem: str) -> dict[str, str]:
    """What the templates are filled with."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]
    blob = f"{config['url']}/blob/{config['branch']}"
    return {
        "era": era,
        "stem": stem,
        "title": stem.replace("_", " ").capitalize(),
        "colab": blob.replace("github.com", "colab.research.google.com/github"),
        "setup": SETUP.format(url=config["url"], version=fmbook.__version__),
    }


def lay_out(root: Path, era: str, stem: str) -> list[Path]:
    """Write the five files of a chapter below `root`; returns them.

    Raises:
        ValueError: the era is not on the map, the stem is no name, or a file is there already.
    """
    if era not in palette()["era"]:
        raise ValueError(f"no era {era!r}; there are: {', '.join(palette()['era'])}")
    if not re.fullmatch(r"[a-z]+(_[a-z]+)*", stem):
        raise ValueError(f"a stem is lower-case words joined by _ and has no numbers; got {stem!r}")
    files = {root / place.format(era=era, stem=stem): text for place, text in FILES.items()}
    present = [f for f in files if f.exists() or f.with_suffix(".ipynb").exists()]
    if present:
        raise ValueError(f"{present[0].relative_to(root)} is there already; nothing was written")
    words = _words(era, stem)
    return [_write(file, template.format(**words)) for file, template in files.items()]


def _write(file: Path, text: str) -> Path:
    """Write one file; what belongs to a tree of notebooks becomes one."""
    tree = file.parts[-3]
    file.parent.mkdir(parents=True, exist_ok=True)
    if tree in ("fmbook", "tests") and not (file.parent / "__init__.py").exists():
        (file.parent / "__init__.py").write_text(f'"""The era {file.parts[-2]}."""\n', "utf8")
    file.write_text(text, "utf8")
    if tree in ("fmbook", "tests"):
        return file
    notebook = to_notebook(file)
    file.unlink()
    return notebook


def main() -> None:
    if len(sys.argv) != 3 or not all(sys.argv[1:]):
        sys.exit("usage: make chapter era=features stem=naive_bayes")
    era, stem = sys.argv[1:]
    try:
        for file in lay_out(ROOT, era, stem):
            print(file.relative_to(ROOT))
    except ValueError as error:
        sys.exit(str(error))
    line = f"- file: chapters/{era}/{stem}"
    print(f"now add `{line}` to _toc.yml where it belongs, and see CONTRIBUTING.md")


if __name__ == "__main__":
    main()
