"""Weights of other people's models, as the bytes of the file that their makers published.

Left out: reading them, which is the chapter `open_weights`; nothing of a package is ever imported.
"""

from fmbook.archives import DataCard, card, fetch, members

__all__ = ["DataCard", "card", "fetch", "smollm2"]


def smollm2() -> bytes:
    """SmolLM2-135M-Instruct as one GGUF file: 98 MB with weights, vocabulary and chat template.

    Raises:
        DataError: the archive is missing or altered.
    """
    ((_, raw),) = members("smollm2")
    return raw
