"""Every image says what it shows and how large it is, or the build warns.

`fmbook.plot.show` puts alt text and size into the output's metadata; Sphinx would write a file name
and no size, so that the text moves when the picture comes. Notebooks' PNGs become WebP without
loss, which is a quarter smaller.
"""

import hashlib
import io
from binascii import a2b_base64
from pathlib import Path

import imagesize
from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from PIL import Image
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
WORDS = 3  # fewer cannot say what a picture shows
WIDE = 560  # pixels from which a picture's labels would be too small on a phone: it scrolls there
render_image = NbElementRenderer.render_image


def with_metadata(self, data):
    """Render a notebook's image with the alt text and size of its output's metadata."""
    own = data.output_metadata.get(data.mime_type) or {}
    alt = own.get("alt") or data.output_metadata.get("alt") or ""
    made = render_image(self, data)
    for image in (node for node in made if isinstance(node, nodes.image)):
        image["alt"] = alt
        if data.mime_type == "image/png":
            image["uri"] = self.write_file(*as_webp(a2b_base64(data.content)), exists_ok=True)
    return made


def as_webp(png):
    """A picture's path and bytes as WebP, pixel by pixel the same."""
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGBA").save(small, "webp", lossless=True, method=6)
    return [f"{hashlib.sha256(png).hexdigest()[:20]}.webp"], small.getvalue()


def check(app, doctree):
    """Warn of images without a real text; add sizes; the first two of a page load at once."""
    for number, image in enumerate(doctree.findall(nodes.image)):
        alt, uri = image.get("alt", "").strip(), image.get("uri", "")
        if len(alt.split()) < WORDS or Path(alt).name == Path(uri).name:
            LOGGER.warning(
                "an image without a text that says what it shows: %s", uri, location=image
            )
        file = Path(app.srcdir) / uri.lstrip("/")
        if ("width" not in image or "height" not in image) and file.exists():
            width, height = imagesize.get(file)
            if width > 0:
                image["width"], image["height"] = str(round(width)), str(round(height))
        image["loading"] = "lazy" if number > 1 else "eager"


def visit_image(self, node):
    """Write an image with its numbers as attributes, as a browser needs them to keep its place."""
    source = node["uri"]
    if source in self.builder.images:
        name = self.builder.images[source]
        source = f"{self.builder.imgpath}/{name}"
    attributes = {
        "src": source,
        "alt": node.get("alt", ""),
        "loading": node.get("loading", "eager"),
    }
    for side in ("width", "height"):
        if str(node.get(side, "")).removesuffix("px").isdigit():
            attributes[side] = str(node[side]).removesuffix("px")
    image = self.emptytag(node, "img", "", **attributes)
    if float(attributes.get("width", 0)) >= WIDE:
        image = f'<span class="scrolls wide">{image.strip()}</span>\n'
    self.body.append(image)


def connect(app):
    """Called by the extension's setup."""
    NbElementRenderer.render_image = with_metadata
    app.add_node(nodes.image, override=True, html=(visit_image, lambda self, node: None))
    app.connect("doctree-read", check)
