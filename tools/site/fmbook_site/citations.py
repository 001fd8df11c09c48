"""Citations by author and year, as the prose writes them.

A chapter says "Vaswani et al. (2017) {cite}`key`", which reads well raw; the site makes the words
themselves the link. A citation without such words reads "(Vaswani et al., 2017)".
"""

import re

from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

NAME = r"(?:van den |von )?[\w’'-]+"
NAMES = rf"{NAME}(?:(?:,\s+{NAME})*,?\s+(?:and|&amp;)\s+{NAME}|\s+et\s+al\.)?(?:’s)?"
YEAR = r"\d{4}[a-z]?(?:, [^()<>]{1,60}?)?"  # and a section, a table, a page
CITED = (
    r'\s+<span class="bibtex-citation" id="(?P<id>[^"]+)">'
    r'\(<a class="reference internal" href="(?P<href>[^"]+)"(?: title="[^"]*")?>'
    r"(?P<label>(?:(?!</a>).)*)</a>\)</span>"
)
BEFORE = 400  # characters in which a name stands that is not beside its year
SAID = tuple(
    re.compile(form + CITED)
    for form in (
        rf"(?P<words>{NAMES}\s+(?:\({YEAR}\)|{YEAR}))(?P<end></strong>)?",  # Hu et al. (2021)
        rf"(?P<words>(?<=\(){YEAR})(?P<end>)",  # by Hu (2021, table 2 [...])
        r"(?P<words>(?<=\()\d{4}(?=\))|(?<=\s)\d{4})(?P<end>\)?)",  # a thesis of Hu's (2021)
    )
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
        names = re.findall(r"[\w’'-]+", label)
        name = next((word for word in names if word[0].isupper()), names[0])  # not "van", "von"
        said = found["words"] if found.re is SAID[0] else html[: found.start()][-BEFORE:]
        if name not in said or label.split()[-1] not in found["words"]:
            return found[0]
        text = f'<a class="citation" id="{found["id"]}" href="{found["href"]}">{found["words"]}</a>'
        return text + (found["end"] or "")

    for form in SAID:
        html = form.sub(link, html)
    return html


def as_list(html):
    """The theme's entries have a role that its lists may not contain."""
    return html.replace('role="doc-biblioentry"', 'role="listitem"')


def connect(app):
    """Called by the extension's setup."""
    register_plugin("sphinxcontrib.bibtex.style.referencing", "fmbook", RoundAuthorYear)
