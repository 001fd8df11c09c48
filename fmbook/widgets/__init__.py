"""The book's widgets: figures that a reader can work, alive in a notebook and on the static page.

Importing this package loads nothing; a widget is loaded at its first use, and then needs the
packages of the extra `notebook` (anywidget, ipywidgets).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmbook.widgets.attention import AttentionExplorer
    from fmbook.widgets.base import BookWidget
    from fmbook.widgets.denoising import DenoisingWalk
    from fmbook.widgets.descent import DescentExplorer
    from fmbook.widgets.graph import ComputationGraph
    from fmbook.widgets.inference import InferenceChain
    from fmbook.widgets.kernel import KernelSlider
    from fmbook.widgets.labels import LabelCurves
    from fmbook.widgets.mail import MailReader
    from fmbook.widgets.next_token import NextToken
    from fmbook.widgets.pieces import PieceReader
    from fmbook.widgets.reading import StateReader
    from fmbook.widgets.scale import WordScale
    from fmbook.widgets.search import WordSearch
    from fmbook.widgets.stream import ResidualStream
    from fmbook.widgets.transcript import ChatTranscript
    from fmbook.widgets.walk import LatentWalk

__all__ = [
    "AttentionExplorer",
    "BookWidget",
    "ChatTranscript",
    "ComputationGraph",
    "DenoisingWalk",
    "DescentExplorer",
    "InferenceChain",
    "KernelSlider",
    "LabelCurves",
    "LatentWalk",
    "MailReader",
    "NextToken",
    "PieceReader",
    "ResidualStream",
    "StateReader",
    "WordScale",
    "WordSearch",
]

HOMES = {
    "AttentionExplorer": "attention",
    "BookWidget": "base",
    "ChatTranscript": "transcript",
    "ComputationGraph": "graph",
    "DenoisingWalk": "denoising",
    "DescentExplorer": "descent",
    "InferenceChain": "inference",
    "KernelSlider": "kernel",
    "LabelCurves": "labels",
    "LatentWalk": "walk",
    "MailReader": "mail",
    "NextToken": "next_token",
    "PieceReader": "pieces",
    "ResidualStream": "stream",
    "StateReader": "reading",
    "WordScale": "scale",
    "WordSearch": "search",
}


def __getattr__(name: str) -> Any:
    """Load a widget's module when the widget is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module 'fmbook.widgets' has no attribute {name!r}")
    return getattr(import_module(f"fmbook.widgets.{HOMES[name]}"), name)
