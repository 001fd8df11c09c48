"""From hand-written rules to foundation models: every station of the book, small and real.

One module per chapter (`fmbook.<era>.<stem>`) and a few shared rooms (data, device, train, plot,
source, swap, checks, records, widgets). Importing `fmbook` itself loads none of them.
"""

__version__ = "0.1.0"
__all__ = ["__version__", "swap"]


def __getattr__(name: str) -> object:
    """Load `fmbook.swap` on first use, so that `import fmbook` stays fast."""
    if name == "swap":
        from fmbook.swapping import swap

        return swap
    raise AttributeError(f"module 'fmbook' has no attribute {name!r}")
