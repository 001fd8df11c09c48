"""From fmbook/palette.toml, the one palette, to CSS variables and the hue of each page."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
TABLE = tomllib.loads((ROOT / "fmbook" / "palette.toml").read_text("utf8"))
THEMES = ("light", "dark")

# Pygments' classes by what they are; the hues are the parts' own, so contrast is known
TOKENS = {
    "var(--part-transformers)": "k kc kd kn kp kr kt ow nb bp",
    "var(--part-learned)": "s sa sb sc dl s2 sh s1 se si sr ss",
    "var(--part-foundation)": "m mb mf mh mi mo il nd",
    "var(--part-world)": "nc nf fm ne nn gh gu",
    "var(--muted)": "c ch cm c1 cs cp cpf sd gp go",
    "var(--ink)": "n o p w err na no ni nl nt nv vc vg vi vm nx l ld x py g ge gs gd gi gr gt",
}


PLAIN = re.compile(  # tokens in the colour of the text need no element of their own
    rf'<span class="(?:{TOKENS["var(--ink)"].replace(" ", "|")})">([^<]*)</span>'
)


def era_of(pagename):
    """The era of a page (`chapters/rules/expert_system` is of `rules`), or None."""
    parts = pagename.split("/")
    return parts[-2] if len(parts) > 1 and parts[-2] in TABLE["era"] else None


def part_of(pagename):
    """The part of the book whose hue a page carries, or None."""
    era = era_of(pagename)
    return TABLE["era"][era] if era else None


def _variables(index):
    pairs = [("ground-code" if n == "code" else n, both) for n, both in TABLE["ground"].items()]
    pairs += [(f"part-{name}", both) for name, both in TABLE["part"].items()]
    lines = [f"  --{name}: {both[index]};" for name, both in pairs]
    return "\n".join([*lines, f"  color-scheme: {THEMES[index]};"])


def css():
    """Variables for both themes, the accent of each part, and the colours of code."""
    blocks = [f"html {{\n{_variables(0)}\n  --accent: var(--part-transformers);\n}}"]
    blocks.append(f'html[data-theme="dark"] {{\n{_variables(1)}\n}}')
    # without JavaScript and before it: what the system asks for; and paper is always light
    blocks.append(
        "@media (prefers-color-scheme: dark) {\n"
        f'html:not([data-theme="light"]):not([data-theme="dark"]) {{\n{_variables(1)}\n}}\n}}'
    )
    blocks.append(f"@media print {{\nhtml, html[data-theme] {{\n{_variables(0)}\n}}\n}}")
    for name in TABLE["part"]:
        blocks.append(f'[data-part="{name}"] {{ --accent: var(--part-{name}); }}')
    blocks.append("html .highlight pre, html .highlight span { color: var(--ink); }")
    for color, classes in TOKENS.items():
        names = ", ".join(f"html .highlight .{name}.{name}.{name}" for name in classes.split())
        blocks.append(f"{names} {{ color: {color}; background: none; }}")
    return "\n\n".join(blocks) + "\n"


def plain(html):
    """Unwrap the tokens of code that look like all other text: half the weight of a chapter.

    >>> plain('<span class="k">return</span><span class="w"> </span><span class="n">x</span>')
    '<span class="k">return</span> x'
    """
    return PLAIN.sub(r"\1", html)


def write(app):
    """Write palette.css among the static files before any page refers to it."""
    if app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "palette.css"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(css(), "utf8")


def mark(html, pagename):
    """Give each link of the navigation the part of its page, for the era's mark in the sidebar."""
    here = pagename.split("/")[:-1]

    def with_part(found):
        path = [*here, *found["href"].split("#")[0].split("/")] if found["href"] != "#" else []
        part = part_of(re.sub(r"\.html$", "", "/".join(path))) if path else part_of(pagename)
        attribute = f' data-part="{part}"' if part else ""
        return f"<li{attribute}{found['rest']}{found['href']}"

    return re.sub(
        r'<li(?P<rest> class="toctree-l\d[^"]*"><a class="[^"]*" href=")(?P<href>[^"]*)',
        with_part,
        html,
    )


def connect(app):
    """Called by the extension's setup."""
    app.connect("builder-inited", write)
    app.add_css_file("palette.css", priority=850)
