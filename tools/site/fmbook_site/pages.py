"""Each finished page: lean, accessible, marked with its part's hue, with a text link to Colab."""

import re
import shutil
from pathlib import Path

from fmbook_site import citations, palette

KEPT_SCRIPTS = (  # all others (thebe, tabs, folds by script, doubled ones) do nothing for this book
    "documentation_options.js",
    "doctools.js",
    "sphinx_highlight.js",
    "clipboard.min.js",
    "copybutton.js",
    "scripts/sphinx-book-theme.js",
    "site.js",
    "searchtools.js",
    "language_data.js",
)
DROPPED_STYLES = ("sphinx-thebe", "togglebutton", "sphinx-design", "design-style", "tabs")
UNUSED = (  # what the theme and its extensions copy beside the pages, and no page asks for
    "vendor/fontawesome",
    "vendor/STAMP",
    "scripts/fontawesome*",
    "**/*.map",
    "locales",
    "images",
    "sphinx-thebe*",
    "sphinx-design*",
    "design-tabs.js",
    "togglebutton*",
    "*macros.html",
)
FORMULA = re.compile(r"(<math\b(?:(?!</math>).)*</math>[.,;:!?)’”]+)", re.S)
WORD = r"<code\b(?:(?!</code>).)*</code>"
CODE = re.compile(  # with a sign before or behind it; what is no prose is left alone
    r"<(?:pre|script|style)\b.*?</(?:pre|script|style)>"
    rf"|(?P<kept>[(“‘]+(?:<a\b[^>]*>{WORD}</a>|{WORD})[.,;:!?)’”]*"
    rf"|(?:<a\b[^>]*>{WORD}</a>|{WORD})[.,;:!?)’”]+)",
    re.S,
)
NO_PROSE = re.compile(
    r"(<(?:pre|code|script|style)\b.*?</(?:pre|code|script|style)>|<[^>]+>)", re.S
)
COPY_SCRIPTS = ("clipboard.min.js", "copybutton.js")


def _name(file):
    return str(getattr(file, "filename", None) or file)


def lean(app, pagename, templatename, context, doctree):
    """Keep only the scripts and styles that a page uses, each once."""
    body = context.get("body", "")
    seen, scripts = set(), []
    for script in context["script_files"]:
        name = _name(script).removeprefix("_static/")
        wanted = name in KEPT_SCRIPTS and name not in seen
        if wanted and not (name in COPY_SCRIPTS and 'class="highlight-' not in body):
            scripts.append(script)
            seen.add(name)
    context["script_files"] = scripts
    # in place: the builder's own list, to which a page may add
    context["css_files"][:] = [
        style
        for style in dict.fromkeys(context["css_files"])
        if not any(word in _name(style) for word in DROPPED_STYLES)
    ]
    if "<math" in body:
        app.add_css_file("vendor/temml.css", priority=840)
    if pagename == app.config.root_doc:
        app.add_css_file("landing.css")
    context["part"] = palette.part_of(pagename)


def colab(app, pagename, templatename, context, doctree):
    """The address of the page's notebook in Colab, if the notebook installs the library there."""
    for button in context.get("header_buttons", []):
        for entry in button.get("buttons", []):
            if entry.get("text") == "Colab":
                notebook = Path(app.env.doc2path(pagename)).read_text("utf8")
                if "google.colab" in notebook:
                    context["colab"] = entry["url"]


def finish(html, pagename):
    """The repairs that need the finished page."""
    html = palette.plain(palette.mark(html, pagename))
    html = citations.as_list(citations.fuse(html))
    html = re.sub(r"(<table\b.*?</table>)", r'<div class="scrolls">\1</div>', html, flags=re.S)
    return together(html)


def _kept(found):
    return f'<span class="kept">{found["kept"]}</span>' if found["kept"] else found[0]


def together(html):
    """Keep a formula or code and the sign beside it on one line, and a number and its percent sign.

    >>> together("<p>At <math>x</math>, 5 % of <code>7 % 3</code></p>")
    '<p>At <span class="kept"><math>x</math>,</span> 5\\xa0% of <code>7 % 3</code></p>'
    >>> together("(<code>x</code>)")
    '<span class="kept">(<code>x</code>)</span>'
    """
    html = FORMULA.sub(r'<span class="kept">\1</span>', html)
    html = CODE.sub(_kept, html)
    parts = NO_PROSE.split(html)
    parts[::2] = [re.sub(r"(?<=\d) %", "\xa0%", part) for part in parts[::2]]
    return "".join(parts)


def wrap(app):
    """Send every page through `finish` on its way to the disk."""
    if app.builder.format != "html":
        return
    render = app.builder.templates.render

    def rendered(template, context):
        html = render(template, context)
        return finish(html, context["pagename"]) if "pagename" in context else html

    app.builder.templates.render = rendered


def tidy(app, exception):
    """Remove what no page asks for."""
    static = Path(app.outdir) / "_static"
    for pattern in UNUSED:
        for found in list(static.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()


def connect(app):
    """Called by the extension's setup."""
    app.connect("builder-inited", wrap)
    app.connect("html-page-context", lean, priority=600)
    app.connect("html-page-context", colab, priority=600)
    app.connect("build-finished", tidy, priority=900)
