"""Notebooks as text: `python tools/notebook.py to-text FILE.ipynb` and `to-notebook FILE.py`.

The text is jupytext's percent format. Going back, outputs are stripped, and each cell keeps its id
as long as its source stays; a new cell's id is made from its source, so that diffs stay small.
"""

import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def to_notebook(text: Path) -> Path:
    """Convert a percent-format script to the notebook beside it."""
    target = text.with_suffix(".ipynb")
    known: dict[str, list[str]] = {}
    if target.exists():
        for cell in nbformat.read(target, 4).cells:
            known.setdefault(cell.source, []).append(cell.id)
    notebook = jupytext.read(text, fmt="py:percent")
    taken = {i for ids in known.values() for i in ids}
    for number, cell in enumerate(notebook.cells):
        if known.get(cell.source):
            cell.id = known[cell.source].pop(0)
        else:
            cell.id = hashlib.sha1(cell.source.encode()).hexdigest()[:8]
            if cell.id in taken:
                cell.id = f"{cell.id}-{number}"
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    ours = {"fmbook": notebook.metadata["fmbook"]} if "fmbook" in notebook.metadata else {}
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}, **ours}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    nbformat.write(notebook, target)
    return target


def to_text(notebook: Path) -> Path:
    """Convert a notebook to a percent-format script beside it (delete that when done)."""
    target = notebook.with_suffix(".py")
    jupytext.write(jupytext.read(notebook), target, fmt="py:percent")
    return target


if __name__ == "__main__":
    actions = {"to-text": to_text, "to-notebook": to_notebook}
    if len(sys.argv) < 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    for name in sys.argv[2:]:
        print(actions[sys.argv[1]](Path(name)))
