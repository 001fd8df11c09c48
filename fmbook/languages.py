"""The encyclopedia in three languages: summaries in English, French and Spanish.

Left out: which pages of two languages speak of the same thing.
"""

import json

from fmbook.archives import members
from fmbook.data import Page

__all__ = ["languages"]


def languages() -> dict[str, list[Page]]:
    """Summaries of Wikipedia articles by language: {"en": [...], "es": [...], "fr": [...]}.

    Raises:
        DataError: the archive is missing or altered.
    """
    found: dict[str, list[Page]] = {}
    for name, raw in sorted(members("languages")):
        pages = json.loads(raw).values()
        language = name.rpartition("_")[2][:2]
        found[language] = [Page(page["title"], page["extract"], page["topic"]) for page in pages]
    return found
