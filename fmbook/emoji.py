"""Named pictures: emoji drawn from OpenMoji's colour font, each with its English name.

Drawn once by Pillow and cached. Left out: emoji of several code points (flags, families, skin
tones), other sizes, and names in other languages.
"""

import base64
import io
import json
import zlib
from typing import TYPE_CHECKING, Any

from fmbook.archives import members
from fmbook.data import _cached

if TYPE_CHECKING:
    import numpy as np

__all__ = ["emoji", "emoji_names"]

SIZE, DRAWN = 32, 128  # pixels of a side, and of the drawing that is reduced to it


def emoji_names() -> dict[str, str]:
    """The names of the 1,400 emoji of a single code point: {character: name}, by name.

    Raises:
        DataError: the archive is missing or altered.
    """
    ((_, raw),) = members("emoji_names")
    qualified = ((c.rstrip("\ufe0f"), row) for c, row in json.loads(raw).items())
    return {
        character: row["en"].strip(":").replace("_", " ")
        for character, row in qualified
        if row["status"] == 2 and len(character) == 1
    }


def _draw(characters: list[str]) -> list[Any]:
    """Each character with its picture, as text: bytes (32, 32, 3), compressed, base64."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    ((_, raw),) = members("emoji")
    plain = ImageFont.Layout.BASIC  # needs no further library
    font = ImageFont.truetype(io.BytesIO(raw), 3 * DRAWN // 4, layout_engine=plain)
    rows = []
    for character in characters:
        sheet = Image.new("RGB", (DRAWN, DRAWN), "white")
        middle = (DRAWN // 2, DRAWN // 2)
        pen = ImageDraw.Draw(sheet)
        pen.text(middle, character, font=font, embedded_color=True, anchor="mm", fill="black")
        small = np.asarray(sheet.reduce(DRAWN // SIZE)).tobytes()
        rows.append([character, base64.b64encode(zlib.compress(small)).decode()])
    return rows


def emoji() -> "tuple[np.ndarray, list[str]]":
    """1,400 emoji: images (1400, 3, 32, 32) float32 in 0..1 on white, and their names.

    Raises:
        DataError: an archive is missing or altered.
    """
    import numpy as np

    named = emoji_names()
    drawn = dict(_cached("emoji", lambda: _draw(list(named))))
    if drawn.keys() != named.keys():  # drawn for other names
        drawn = dict(_draw(list(named)))
    raw = b"".join(zlib.decompress(base64.b64decode(drawn[c])) for c in named)
    images = np.frombuffer(raw, dtype=np.uint8).reshape(-1, SIZE, SIZE, 3)
    return images.transpose(0, 3, 1, 2).astype(np.float32) / 255, list(named.values())
