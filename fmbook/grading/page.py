"""What the engine's pages share: colours and type, escaping, and walls against strangers' words.

A page is one file that asks for nothing: a content policy forbids connections and every script and
style but the page's own, known by its hash. Left out: what the pages say.
"""

import base64
import hashlib
import html
import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fmbook.grading.verdict import text

__all__ = ["document", "escape", "number", "palette", "write"]

FOLDER = resources.files("fmbook.grading")
ALWAYS = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:"


def escape(words: Any) -> str:
    """A stranger's words as the content of an element, or of an attribute in quotes.

    >>> escape("<b onload='x'>")
    '&lt;b onload=&#x27;x&#x27;&gt;'
    """
    return html.escape(text(words))


def number(value: float | None) -> str:
    """Points as people write them: two digits at most, a dash for what nobody has decided.

    >>> number(2.0), number(1.25), number(None)
    ('2', '1.25', '–')
    """
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def palette(era: str = "") -> str:
    """The book's colours as CSS variables, light and dark; `--hue` is that of the era's part."""
    table = tomllib.loads((resources.files("fmbook") / "palette.toml").read_text("utf8"))
    hue = table["part"][table["era"].get(era, "transformers")]
    colors = table["ground"] | {"good": table["part"]["learned"], "hue": hue}
    colors["bad"] = table["part"]["foundation"]
    light, dark = (
        "".join(f"--{name}:{both[theme]};" for name, both in colors.items()) for theme in (0, 1)
    )
    night = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f":root{{color-scheme:light dark;{light}}}\n{night}\n"


def document(
    title: str, body: str, *, era: str = "", script: str = "", data: Mapping[str, Any] | None = None
) -> bytes:
    """A whole page. `body` is HTML and trusted; `data` is anything, for the script to read."""
    style = palette(era) + (FOLDER / "page.css").read_text("utf8")
    policy = f"{ALWAYS}; style-src {_hash(style)}; script-src {_hash(script) if script else _NONE}"
    held = (
        "" if data is None else f'<script type="application/json" id="data">{_json(data)}</script>'
    )
    code = f"<script>{script}</script>" if script else ""
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body}\n{held}\n{code}</body>\n</html>\n"
    )
    return page.encode("utf8", "replace")


_NONE = "'none'"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json(data: Mapping[str, Any]) -> str:
    """JSON in which no `<`, `>` or `&` stands, so that nothing can end its element."""
    said = json.dumps(data, separators=(",", ":"))
    return said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write(file: Path, content: bytes, mode: int = 0o644, *, force: bool = False) -> bool:
    """Put a file into place whole, or leave it if it holds this already; True if it was written."""
    if not force and not file.is_symlink() and file.is_file() and file.read_bytes() == content:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=file.parent, prefix=".fmbook-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(aside, mode)
        os.replace(aside, file)
    except BaseException:
        os.unlink(aside)
        raise
    return True
