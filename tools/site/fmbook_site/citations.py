"""Citations by author and year, as the prose writes them.

A chapter says "Vaswani et al. (2017) {cite}`key`", which reads well raw; the site makes the words
themselves the link. A citation without such words reads "(Vaswani et al., 2017)".
"""

import re

from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

NAMES = r"[\w’'-]+(?:(?:, [\w’'-]+)*,? (?:and|&amp;) [\w’'-]+| et al\.)?"
WHERE = r"(?:, [^()<>]{1,60})?"  # a section, a table, a page
SAID = re.compile(
    rf"(?P<words>{NAMES} (?:\(\d{{4}}[a-z]?{WHERE}\)|\d{{4}}[a-z]?{WHERE}))\s+"
    r'<span class="bibtex-citation" id="(?P<id>[^"]+)">'
    r'\(<a class="reference internal" href="(?P<href>[^"]+)"(?: title="[^"]*")?>'
    r"(?P<label>(?:(?!</a>).)*)</a>\)</span>"
)


class RoundAuthorYear(AuthorYearReferenceStyle):
    """Author and year in round brackets."""

    def __init__(self):
        super().__init__(bracket_parenthetical=BracketStyle(left="(", right=")"))


def fuse(html):
    """Make the prose's own "Author (year)" the link and drop the doubled citation.

    >>> fuse('Hu et al. (2021) <span class="bibtex-citation" id="id1">(<a class="reference '
    ...      'internal" href="b.html#v">Hu <em>et al.</em>, 2021</a>)</span>.')
    '<a class="citation" id="id1" href="b.html#v">Hu et al. (2021)</a>.'
    """

    def link(found):
        label = re.sub("<[^>]+>", "", found["label"])
        same = {label.split()[0].strip(","), label.split()[-1]} <= set(
            re.findall(r"[\w’'-]+", found["words"])
        )
        text = f'<a class="citation" id="{found["id"]}" href="{found["href"]}">{found["words"]}</a>'
        return text if same else found[0]

    return SAID.sub(link, html)


def as_list(html):
    """The theme's entries have a role that its lists may not contain."""
    return html.replace('role="doc-biblioentry"', 'role="listitem"')


def connect(app):
    """Called by the extension's setup."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "fmbook", RoundAuthorYear)
