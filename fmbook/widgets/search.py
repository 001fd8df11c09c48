"""A search by words over pictures, and back: both are directions in one space.

Left out: the towers; the page holds what they made of each word and each picture.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WordSearch"]


class WordSearch(BookWidget):
    """Pictures, sorted by how near they lie to the mean of chosen words; and words near a picture.

    `pictures` is (n, 3, H, W), from 0 to 1, kept as one image of 32 colours. `images` (n, D) and
    `texts` (one a word, D) are their embeddings, of any length, kept as bytes: angles are exact to
    about a degree.

    Raises:
        ValueError: shapes do not fit, or pictures are not from 0 to 1.

    >>> import numpy as np
    >>> white, alt = np.ones((2, 3, 4, 4)), "Two white pictures, sorted by one word."
    >>> WordSearch(white, ["snow", "milk"], [[1, 0], [0, 1]], ["cold"], [[1, 0.1]], alt=alt)
    WordSearch(pictures=2, words=1)
    """

    _esm = module("search")
    _css = stylesheet("search", "making")
    sheet = traitlets.Unicode().tag(**KEPT)  # all pictures in a row, a PNG in base64
    size = traitlets.List(traitlets.Int()).tag(**KEPT)  # height and width of one
    names = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    words = traitlets.List(traitlets.Unicode()).tag(**KEPT)
    images = traitlets.Bytes().tag(**KEPT)  # [picture][number], from -127 to 127
    texts = traitlets.Bytes().tag(**KEPT)  # [word][number]
    chosen = traitlets.List(traitlets.Int()).tag(**KEPT)
    pick = traitlets.Int(-1).tag(**KEPT)

    def __init__(
        self,
        pictures: Any,
        names: Sequence[str],
        images: Any,
        words: Sequence[str],
        texts: Any,
        *,
        alt: str,
        **traits: Any,
    ) -> None:
        table = _checked(pictures, names)
        seen, said = _directions(images, len(names)), _directions(texts, len(words))
        if seen.shape[1] != said.shape[1]:
            raise ValueError(f"embeddings differ in width: {seen.shape[1]} and {said.shape[1]}")
        super().__init__(
            sheet=_sheet(table),
            size=list(table.shape[2:]),
            names=[plain(name) for name in names],
            words=[plain(word) for word in words],
            images=seen.tobytes(),
            texts=said.tobytes(),
            alt=alt,
            **traits,
        )

    def __repr__(self) -> str:
        return f"WordSearch(pictures={len(self.names)}, words={len(self.words)})"

    def picture(self) -> "Axes":
        """The first pictures that the chosen words find, side by side."""
        import numpy as np
        from PIL import Image

        width, n = self.size[1], len(self.names)
        whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(self.sheet))).convert("RGB"))
        seen = np.frombuffer(self.images, dtype="int8").reshape(n, -1).astype(float)
        said = np.frombuffer(self.texts, dtype="int8").reshape(len(self.words), -1).astype(float)
        order = np.argsort(-(seen @ said[self.chosen].sum(0)), kind="stable")[:10]
        ax: Axes = plot.axes(width=1, height=1.3)
        tiles = [whole[:, i * width : (i + 1) * width] for i in order]
        ax.imshow(np.concatenate(tiles, 1), interpolation="nearest")
        ax.grid(False)
        asked = " + ".join(self.words[i] for i in self.chosen) or "no word chosen"
        ax.set(xticks=[], yticks=[], title=drawable(asked, 60))
        return ax


def _checked(pictures: Any, names: Sequence[str]) -> Any:
    """The pictures as an array (n, 3, H, W), if there is a name for each."""
    import numpy as np

    table = np.asarray(pictures, dtype=float)
    if table.ndim != 4 or table.shape[:2] != (len(names), 3) or not table.size:
        raise ValueError(f"pictures must be ({len(names)}, 3, H, W), got {table.shape}")
    if not ((table >= 0) & (table <= 1)).all():
        raise ValueError("pictures must be from 0 to 1")
    return table


def _directions(vectors: Any, n: int) -> Any:
    """Embeddings (n, D) as unit vectors in whole numbers from -127 to 127."""
    import numpy as np

    table = np.asarray(vectors, dtype=float)
    if table.ndim != 2 or len(table) != n or not n:
        raise ValueError(f"embeddings must be ({n}, D), a row each, got {table.shape}")
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("an embedding without a direction")
    return np.rint(127 * table / lengths).astype("int8")


def _sheet(table: Any) -> str:
    """The pictures side by side as a small PNG in base64."""
    import numpy as np
    from PIL import Image

    row = np.concatenate(list(np.rint(255 * table).astype("uint8").transpose(0, 2, 3, 1)), 1)
    small = io.BytesIO()
    colours = Image.fromarray(row).quantize(32, dither=Image.Dither.NONE)
    colours.save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
