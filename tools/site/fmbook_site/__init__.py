"""The book's Sphinx extension: all that Jupyter Book and its theme do not do as LOOK asks.

Palette and eras to CSS, TeX to MathML at build time, alt text on every image, citations that read
well, lean and accessible pages. Nothing outside this folder knows of Sphinx.
"""

import hashlib
from pathlib import Path

from fmbook_site import citations, images, mathml, pages, palette

HERE = Path(__file__).parent
ASSETS = palette.ROOT / "chapters" / "assets"


def _hash(files):
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def add_templates(app, config):
    """The book's templates come before the theme's."""
    config.templates_path.insert(0, str(HERE / "templates"))


def setup(app):
    """Connect the parts; called by Sphinx."""
    app.connect("config-inited", add_templates)
    # a change of the extension reads all pages anew, a change of the look writes them anew
    app.add_config_value("fmbook_site_code", _hash(HERE.glob("*.py")), "env")
    look = [*ASSETS.glob("*.*"), palette.ROOT / "fmbook" / "palette.toml"]
    app.add_config_value("fmbook_site_look", _hash(look), "html")
    for part in (palette, mathml, images, citations, pages):
        part.connect(app)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
