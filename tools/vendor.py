"""Brings what the site needs and Python does not: Temml, its styles, and a font for mathematics.

`python -m tools.vendor` fills chapters/assets/vendor (not committed) from pinned packages, checked
by sha256; when all is there it does nothing. No page asks a third party for anything.
"""

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "chapters" / "assets" / "vendor"
FILES = ("temml.cjs", "temml.css", "math.woff", "STAMP")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A pinned archive of a registry."""

    registry: str
    package: str
    version: str
    archive: str
    sha256: str


TEMML = Package(
    registry="npm",
    package="temml",
    version="0.13.5",
    archive="temml-0.13.5.tgz",
    sha256="bca5b76dd26d1d6c81f8d817f6cc8bf0f0a1a7787512e281d5c22b986f8ae582",
)
FONT = Package(  # carries STIX Two Math, SIL Open Font License 1.1
    registry="PyPI",
    package="ziamath",
    version="0.13",
    archive="ziamath-0.13-py3-none-any.whl",
    sha256="67a9b9714101fc90c2d6d0328e578f3ac311fb007644f2bbb9314ba2bc1c1459",
)

# what a book of this kind writes in mathematics: Latin, Greek, operators, arrows, letters in styles
GLYPHS = (
    (0x20, 0x7E), (0xA0, 0xB7), (0xD7, 0xD7), (0xF7, 0xF7), (0x131, 0x131), (0x237, 0x237),
    (0x2C6, 0x2DC), (0x300, 0x30C), (0x338, 0x338), (0x391, 0x3F6), (0x2010, 0x2026),
    (0x2032, 0x2037), (0x2057, 0x2057), (0x2061, 0x2064), (0x20D6, 0x20D7), (0x210E, 0x2113),
    (0x211C, 0x2124), (0x2135, 0x2138), (0x2190, 0x21A6), (0x21AA, 0x21AA), (0x21C0, 0x21C4),
    (0x21D0, 0x21D5), (0x2200, 0x22A5), (0x22BB, 0x22C6), (0x22EE, 0x22F1), (0x2308, 0x230B),
    (0x23B4, 0x23B5), (0x23DC, 0x23E1), (0x25A0, 0x25A1), (0x27E6, 0x27E9), (0x27F5, 0x27FA),
    (0x2A00, 0x2A02), (0x2A7D, 0x2A7E), (0x2AAF, 0x2AB0), (0x1D400, 0x1D4CF), (0x1D538, 0x1D551),
    (0x1D6A4, 0x1D71D), (0x1D7CE, 0x1D7D7),
)  # fmt: skip


def _sha256(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def stamp():
    """What the vendor folder was made from; a change of pins or of this file makes it anew."""
    return f"{TEMML.sha256} {FONT.sha256} {_sha256(Path(__file__))}"


def is_complete():
    """Whether everything is there, made from these pins."""
    if not all((VENDOR / name).exists() for name in FILES):
        return False
    return (VENDOR / "STAMP").read_text("utf8") == stamp()


def fetch(package, folder):
    """The checked archive of a package."""
    from fmbook.archives import DataError, _fetch_command

    command = _fetch_command(package, folder)
    ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    file = Path(folder) / package.archive
    if ran.returncode or not file.exists():
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(
            f"could not fetch {package.package} {package.version} ({last}): "
            "check the connection, then run `python -m tools.vendor`"
        )
    if (sha := _sha256(file)) != package.sha256:
        raise DataError(f"{package.archive} came with sha256 {sha}, expected {package.sha256}")
    return file


def styles(css):
    """Temml's styles without its own font and without its numbering of equations."""
    css = re.sub(r"@font-face \{.*?\}\n", "", css, flags=re.S)
    css = re.sub(r"/\* flex-wrap for line-breaking.*?(?=/\* Default mtd)", "", css, flags=re.S)
    css = re.sub(r"@-moz-document url-prefix\(\) \{.*?\n\}\n", "", css, flags=re.S)
    css = css[: css.index("/* AMS environment")]
    return css.replace("font-family: STIX2, math", 'font-family: "Book Math", math')


def font(source, target):
    """A web font of the glyphs that the book writes, with its tables for mathematics."""
    from fontTools import subset, ttLib

    face = ttLib.TTFont(source)
    options = subset.Options(hinting=False, name_IDs=["*"], layout_features=[])
    options.layout_features = ["ssty", "ccmp", "dtls", "flac", "ss04"]
    cut = subset.Subsetter(options)
    cut.populate(unicodes=[c for first, last in GLYPHS for c in range(first, last + 1)])
    cut.subset(face)
    narrow_roots(face)
    face.flavor = "woff"
    face.save(target)


def narrow_roots(face):
    """Make all sizes of the root sign as wide as the smallest.

    Browsers reserve the width of the widest one, which leaves a gap after a small root.
    """
    root = face.getBestCmap()[0x221A]
    variants = face["MATH"].table.MathVariants
    sizes = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(root)]
    names = {record.VariantGlyph for record in sizes.MathGlyphVariantRecord}
    names |= {part.glyph for part in sizes.GlyphAssembly.PartRecords}
    for name in names - {root}:
        width, left = face["hmtx"][name]
        share = min(1, face["hmtx"][root][0] / width)
        glyph = face["glyf"][name]
        glyph.coordinates.scale((share, 1))
        glyph.coordinates.toInt()
        glyph.recalcBounds(face["glyf"])
        face["hmtx"][name] = (round(width * share), round(left * share))


def make(folder):
    """Fetch the packages and lay their files out in `folder`."""
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(fetch(TEMML, scratch)) as tar:
            for name, member in (("temml.cjs", "temml.cjs"), ("temml.css", "Temml-STIX2.css")):
                text = tar.extractfile(f"package/dist/{member}").read().decode("utf8")
                text = styles(text) if name.endswith(".css") else text
                (folder / name).write_text(text, "utf8")
        with zipfile.ZipFile(fetch(FONT, scratch)) as wheel:
            raw = wheel.extract("ziamath/fonts/STIXTwoMath-Regular.ttf", scratch)
        font(raw, folder / "math.woff")
    (folder / "STAMP").write_text(stamp(), "utf8")


def main():
    """Fill the vendor folder unless it is complete; the folder is replaced only on success.

    Raises:
        DataError: a package could not be fetched, or is not the pinned one.
    """
    if is_complete():
        return
    VENDOR.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VENDOR.parent, prefix=".vendor-") as scratch:
        fresh = Path(scratch) / "vendor"
        fresh.mkdir()
        make(fresh)
        shutil.rmtree(VENDOR, ignore_errors=True)
        fresh.rename(VENDOR)


if __name__ == "__main__":
    main()
