"""The site's own tools: its Sphinx extension, what it vendors, the repository's address."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import repository, vendor


def test_every_place_names_the_same_repository() -> None:
    named = repository.mentions()
    assert named, "nothing names the repository"
    assert {address for _, address in named} == {repository.address()}


CONF = """
import sys
sys.path.insert(0, {site!r})
extensions = ["myst_nb", "fmbook_site"]
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "temml"
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Build one page of Markdown with the book's extension; returns its HTML and the warnings."""

    def run(text: str) -> tuple[str, str]:
        folder = tmp_path_factory.mktemp("book")
        (folder / "conf.py").write_text(CONF.format(site=str(repository.ROOT / "tools/site")))
        (folder / "index.md").write_text(f"# A page\n\n{text}\n", "utf8")
        shutil.copy(repository.ROOT / "chapters/assets/favicon.svg", folder / "strokes.svg")
        shutil.copy(repository.ROOT / "chapters/assets/mlp.svg", folder / "diagram.svg")
        command = [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-b",
            "html",
            str(folder),
            str(folder / "out"),
        ]
        ran = subprocess.run(command, capture_output=True, text=True)
        return (folder / "out/index.html").read_text("utf8"), ran.stderr

    return run


def test_what_temml_cannot_read_and_pictures_without_text_are_warnings(build: Any) -> None:
    page, warnings = build(
        "$x_t$ and $\\frac{1$ and $\\nosuch$\n\n![](strokes.svg) ![strokes.svg](strokes.svg) "
        "![six strokes side by side](strokes.svg)"
    )
    assert page.count("<math") == 1
    assert warnings.count("TeX not understood") == 2, warnings
    assert warnings.count("an image without a text that says what it shows") == 2, warnings


def test_only_what_is_wide_scrolls_on_a_phone(build: Any) -> None:
    page, _ = build("![six strokes side by side](strokes.svg)\n\n![a line and units](diagram.svg)")
    assert re.findall(r'<span class="scrolls wide"><img[^>]* src="[^"]*?(\w+\.svg)"', page) == [
        "diagram.svg"
    ]
    assert "strokes.svg" in page


def test_a_citation_makes_the_words_before_it_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository.ROOT / "tools/site"))
    from fmbook_site.citations import fuse

    cited = (
        '<span class="bibtex-citation" id="i">(<a class="reference internal" href="b.html#v" '
        'title="T">Hu <em>et al.</em>, 2021</a>)</span>'
    )
    link = '<a class="citation" id="i" href="b.html#v">'
    assert fuse(f"by Hu et al. (2021) {cited}.") == f"by {link}Hu et al. (2021)</a>."
    assert fuse(f"Hu, Shen, and Wallis (2021) {cited}") == f"{link}Hu, Shen, and Wallis (2021)</a>"
    assert fuse(f"Hu et al. (2021, table 2) {cited}") == f"{link}Hu et al. (2021, table 2)</a>"
    assert fuse(f"(see Hu et al. 2021 {cited})") == f"(see {link}Hu et al. 2021</a>)"
    assert fuse(f"Hu\net al. (2021) {cited}") == f"{link}Hu\net al. (2021)</a>"
    assert fuse(f"<strong>Hu et al. (2021)</strong> {cited}") == (
        f"<strong>{link}Hu et al. (2021)</a></strong>"
    )
    assert (
        fuse(f"Hu tells it (2021, table\n2 {cited})") == f"Hu tells it ({link}2021, table\n2</a>)"
    )
    assert fuse(f"Hu in a thesis (2021) {cited}.") == f"Hu in a thesis ({link}2021</a>)."
    assert fuse(f"as Hu said in 2021 {cited}.") == f"as Hu said in {link}2021</a>."
    assert fuse(f"a thesis (2021) {cited}.") == f"a thesis (2021) {cited}."
    for other in (f"as is known {cited}", f"in 2021 {cited}", f"Ho et al. (2021) {cited}"):
        assert fuse(other) == other


def test_a_line_ends_neither_before_a_point_nor_before_a_percent_sign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(repository.ROOT / "tools/site"))
    from fmbook_site.pages import together

    assert together("at <math>x</math>, and <math>y</math> too") == (
        'at <span class="kept"><math>x</math>,</span> and <math>y</math> too'
    )
    assert together("(<code>a b</code>), <a href=''><code>c</code></a>. <code>d</code> e") == (
        '<span class="kept">(<code>a b</code>),</span> '
        "<span class=\"kept\"><a href=''><code>c</code></a>.</span> <code>d</code> e"
    )
    untouched = "<pre><code>x</code>, y</pre><a href=''>see <code>z</code></a>)"
    assert together(untouched) == untouched
    assert together("<p>80 % of <code>80 % 7</code></p><pre>5 % 3</pre> 5 %") == (
        "<p>80\xa0% of <code>80 % 7</code></p><pre>5 % 3</pre> 5\xa0%"
    )


def test_the_address_is_set_in_every_place(tmp_path: Path) -> None:
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_config.yml").write_text(
        "repository: # one place\n  url: https://github.com/a/b\n"
    )
    colab = "[x](https://colab.research.google.com/github/a/b/blob/main/x.ipynb)"
    (tmp_path / "chapters/x.md").write_text(f"{colab} git+https://github.com/a/b@v1 github.com/x/y")
    (tmp_path / "README.md").write_text("See https://github.com/a/b. https://github.com/a/bc")
    repository.write("git@github.com:new-home/the.book.git", tmp_path)
    assert repository.address(tmp_path) == "https://github.com/new-home/the.book"
    assert {u for _, u in repository.mentions(tmp_path)} == {"https://github.com/new-home/the.book"}
    assert "github.com/x/y" in (tmp_path / "chapters/x.md").read_text()
    said = "See https://github.com/new-home/the.book. https://github.com/a/bc"
    assert (tmp_path / "README.md").read_text() == said
    with pytest.raises(ValueError, match="Colab needs"):
        repository.write("https://example.org/a/b", tmp_path)


def test_what_is_vendored_is_taken_once() -> None:
    assert vendor.is_complete()
    assert (vendor.VENDOR / "math.woff").stat().st_size < 400_000


def test_code_has_contrast_in_both_themes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository.ROOT / "tools/site"))
    from fmbook_site.palette import TABLE, TOKENS

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    hues = {f"part-{name}": both for name, both in TABLE["part"].items()} | TABLE["ground"]
    for theme in (0, 1):
        for ground in ("page", "code"):
            for name in (token.removeprefix("var(--").rstrip(")") for token in TOKENS):
                pair = sorted([light(hues[name][theme]), light(TABLE["ground"][ground][theme])])
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground, theme)
