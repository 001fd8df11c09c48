"""The widgets live without a kernel, by mouse and keyboard, light and dark, and trust no text."""

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmbook import plot
from fmbook.widgets import (
    AttentionExplorer,
    BookWidget,
    InferenceChain,
    KernelSlider,
    LatentWalk,
    MailReader,
)
from tests.browser import LOOKS, barriers, complaints, html, sentence, sideways
from tests.test_widget_denoising import denoising
from tests.test_widget_labels import labels
from tests.test_widget_next_token import next_token
from tests.test_widget_pieces import pieces
from tests.test_widget_reading import reader as state_reader
from tests.test_widget_scale import scale
from tests.test_widget_search import search
from tests.test_widget_stream import stream
from tests.test_widget_transcript import transcript
from tests.test_widgets_gradients import graph, valley

HOSTILE = "</script><img src=x onerror=alert(1)><!-- $x^2$ \udcff \u202e 文 \x00 &amp; \"'"
ALT = "What the widget shows, said in a sentence."
STATIC = resources.files("fmbook.widgets") / "static"
SCRIPTS = [file for file in STATIC.iterdir() if file.name.endswith(".js")]
STYLES = [file for file in STATIC.iterdir() if file.name.endswith(".css")]
DAY, NIGHT = "rgb(255, 255, 255)", "rgb(20, 24, 30)"


def attention(tokens: str = "the cat sat on the mat", **more: Any) -> AttentionExplorer:
    """Two causal heads: one looks at the token before, one at all it sees, evenly."""
    words = tokens.split(" ")
    n = len(words)
    before = np.eye(n, k=-1)
    before[0, 0] = 1
    even = np.tril(np.ones((n, n))) / np.arange(1, n + 1)[:, None]
    weights = np.stack([before, even]).tolist()
    return AttentionExplorer(words, weights, ["head 1", "head 2"], alt=ALT, **more)


def fact(name: str, rule: str | None = None, because: str = "", **more: Any) -> dict[str, Any]:
    known = {"id": name, "text": f"text of {name}", "rule": rule, "certainty": 0.5}
    return {**known, "because": list(because), **more}


FACTS = [
    fact("a", certainty=1.0),
    fact("b", certainty=None),
    fact("c", "first", "a"),
    fact("d", "second", "bc", certainty=-0.25),
]


def chain(facts: list[dict[str, Any]] = FACTS) -> InferenceChain:
    return InferenceChain(facts, title="One mail", alt=ALT)


def letter(subject: str, truth: str, *verdicts: str) -> dict[str, Any]:
    said = [
        {"filter": f"filter {i}", "verdict": verdict, "reason": f"because {HOSTILE}"}
        for i, verdict in enumerate(verdicts)
    ]
    texts = {"subject": subject, "sender": f"A <{HOSTILE}>", "excerpt": f"Dear {HOSTILE}" * 5}
    return {**texts, "truth": truth, "verdicts": said}


def reader(*more: dict[str, Any]) -> MailReader:
    first = letter("Lunch?", "ham", "ham", "spam"), letter(HOSTILE, "spam", "spam", "spam")
    return MailReader([*first, *more], alt=ALT)


def slider() -> KernelSlider:
    ramp = np.linspace(0, 1, 49).reshape(7, 7)
    edge = [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]
    return KernelSlider(ramp, {"edge": edge, HOSTILE: np.ones((3, 3)) / 9}, alt=ALT)


def walk() -> LatentWalk:
    steps = np.linspace(0, 1, 2 * 3 * 16).reshape(2, 3, 4, 4)
    return LatentWalk(steps, ["up", HOSTILE], [["a", "b", HOSTILE]] * 2, alt=ALT)


def long_walk() -> LatentWalk:
    """Eleven pictures of 28 pixels, as the chapter on adversarial networks shows them."""
    steps = np.linspace(0, 1, 11 * 28 * 28).reshape(1, 11, 28, 28)
    return LatentWalk(steps, ["from dark to bright"], [["a picture"] * 11], alt=ALT)


MAKERS: list[Callable[[], BookWidget]] = [
    *(attention, chain, reader, slider, walk),
    *(graph, valley, scale, state_reader),
    *(pieces, stream, next_token, transcript, denoising, search, labels),
]


class Tags(HTMLParser):
    """The elements that a browser would see in a text, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.seen.append(("comment", {}))


# --- what needs no browser ---------------------------------------------------------------------


def test_importing_the_package_needs_no_extra_and_a_widget_says_what_it_needs() -> None:
    program = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import fmbook.widgets\n"
        "assert 'ipywidgets' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "try: fmbook.widgets.MailReader\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "pip install 'fmbook[notebook]'" in run.stdout


def test_an_unknown_widget_is_an_attribute_error() -> None:
    import fmbook.widgets

    with pytest.raises(AttributeError, match="Nonsense"):
        _ = fmbook.widgets.Nonsense


@pytest.mark.parametrize("make", MAKERS)
def test_the_bundle_has_the_live_view_the_page_the_picture_and_the_text(
    make: Callable[[], BookWidget],
) -> None:
    widget = make()
    data, metadata = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert data["text/html"] == widget.html()
    assert data["text/plain"] == widget.alt == metadata["alt"] == metadata["image/png"]["alt"]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_a_widget_without_a_picture_shows_its_text() -> None:
    class Bare(BookWidget):
        _esm = "export default { render() {} };\n"
        _css = ".fm-root { color: red; }\n"

    data, metadata = Bare(alt=ALT)._repr_mimebundle_()
    assert "image/png" not in data
    assert "image/png" not in metadata
    assert f"<p>{ALT}</p>" in data["text/html"]


def test_a_notebook_with_ipywidgets_seven_still_gets_the_page() -> None:
    from IPython.core.formatters import DisplayFormatter

    widget = reader()
    assert widget._ipython_display_ is None
    data, _ = DisplayFormatter().format(widget)
    assert data["text/html"] == widget.html()


def test_alt_is_required_and_says_something() -> None:
    with pytest.raises(TypeError, match="alt"):
        MailReader([letter("Lunch?", "ham", "ham")])  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="sentence"):
        MailReader([letter("Lunch?", "ham", "ham")], alt="A widget.")


def test_hostile_text_adds_no_element_to_the_page() -> None:
    plain, hostile = Tags(attention().html()).seen, [*MAKERS, lambda: attention(HOSTILE)]
    kinds = [tag for tag, _ in plain]
    assert kinds == ["div", "style", "div", "img", "script", "script"]
    for make in hostile:
        assert [tag for tag, _ in Tags(make().html()).seen] == kinds
    alt = f'one two three four "><script>{HOSTILE}'
    seen = Tags(MailReader([letter("Lunch?", "ham", "ham")], alt=alt).html()).seen
    assert [tag for tag, _ in seen] == kinds
    assert seen[3][1]["alt"] == alt.replace("\udcff", "\ufffd")
    reader().html().encode("utf8")  # no half of a surrogate pair is left


@pytest.mark.parametrize("make", MAKERS)
def test_the_same_state_gives_the_same_text_and_another_state_another_key(
    make: Callable[[], BookWidget],
) -> None:
    def key(text: str) -> str:
        return str(Tags(text).seen[0][1]["data-fm"])

    first, second = make(), make()
    assert first.html() == second.html()
    second.alt = "Another sentence that says what it shows."
    assert key(first.html()) != key(second.html())
    assert " id=" not in first.html().split("<script>")[0]


def test_a_widget_weighs_at_most_forty_five_kilobytes() -> None:
    long = attention(" ".join(f"word{i}" for i in range(48)))
    facts = [fact(f"f{i}", text="w" * 60) for i in range(10)]
    facts += [
        fact(f"f{i}", "some-rule", text="w" * 60, because=["f0", "f1"]) for i in range(10, 18)
    ]
    mails = [letter(f"Mail {i} about something", "spam", *["spam"] * 3) for i in range(12)]
    sizes = [len(w.html().encode()) for w in (long, chain(facts), MailReader(mails, alt=ALT))]
    assert max(sizes) <= 45_000, sizes


def test_attention_keeps_the_weights_and_checks_them() -> None:
    widget = AttentionExplorer(["a", "b"], [[[1, 0], [0.25, 0.75]]], ["h"], alt=ALT)
    assert list(widget.weights) == [255, 0, 64, 191]
    for weights in ([[1, 0], [0, 1]], [[[1, 0, 0], [0, 1, 0]]], []):
        with pytest.raises(ValueError, match=r"\(1, 2, 2\)"):
            AttentionExplorer(["a", "b"], weights, ["h"], alt=ALT)
    for row in ([0.5, 0.6], [1.5, -0.5], [float("nan"), 1]):
        with pytest.raises(ValueError, match="sum to 1"):
            AttentionExplorer(["a", "b"], [[[1, 0], row]], ["h"], alt=ALT)


def test_a_chain_puts_given_facts_first_and_checks_the_rest() -> None:
    late = [fact("a"), fact("c", "first", "a"), fact("b"), fact("d", "second", "bc")]
    assert [known["id"] for known in chain(late).facts] == ["a", "b", "c", "d"]
    wrong = {
        "at least one derived": [fact("a")],
        "comes twice": [fact("a"), fact("a", "rule")],
        "do not come before": [fact("c", "rule", "a"), fact("a")],
        "no rule": [fact("a"), fact("c", None, "a"), fact("d", "rule")],
        "from -1 to 1": [fact("a", certainty=1.5), fact("c", "rule", "a")],
    }
    for words, facts in wrong.items():
        with pytest.raises(ValueError, match=words):
            chain(facts)


def test_a_reader_takes_only_spam_and_ham_and_the_same_filters() -> None:
    for words, mails in {
        "at least one mail": [],
        "'spam' or 'ham'": [letter("x", "spam", "maybe")],
        "same filters": [letter("x", "spam", "spam"), letter("y", "ham", "ham", "ham")],
    }.items():
        with pytest.raises(ValueError, match=words):
            MailReader(mails, alt=ALT)
    with pytest.raises(TypeError, match="expected text"):
        MailReader([letter("x", "spam", "spam") | {"sender": None}], alt=ALT)


def test_colours_are_the_palettes_in_light_and_dark() -> None:
    table = plot.palette()
    css = str(MailReader._css)
    assert f"--fm-ink:light-dark({','.join(table['ground']['ink'])});" in css
    assert f"--fm-hue:light-dark({','.join(table['part']['hand'])});" in css
    assert f"--fm-spam:light-dark({','.join(table['part']['foundation'])});" in css
    for file in STYLES:
        assert not re.search(r"#[0-9a-f]{3}|(rgb|hsl)a?\(", file.read_text("utf8")), file.name


def test_the_map_has_the_colours_of_the_books_heat_maps() -> None:
    import matplotlib as mpl

    text = (STATIC / "attention.js").read_text("utf8")
    stops = re.findall(r'"(#[0-9a-f]{6})"', text)
    map_ = mpl.colormaps[plot.SEQUENTIAL](np.linspace(0, 1, len(stops)))
    assert stops == [mpl.colors.to_hex(colour) for colour in map_]


def test_scripts_write_no_markup_call_nobody_and_fit_into_a_page() -> None:
    banned = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|import|</script|<!--"
    )
    for file in SCRIPTS:
        text = file.read_text("utf8").replace('"http://www.w3.org/2000/svg"', "")
        assert not re.search(banned + "|https?:", text), file.name
    for file in STYLES:
        assert not re.search(r"url\(|@import|transition|animation", file.read_text("utf8")), file


def test_an_executed_notebook_holds_the_page_and_the_picture() -> None:
    import nbformat
    from nbclient import NotebookClient

    cell = nbformat.v4.new_code_cell(
        "from fmbook.widgets import AttentionExplorer\n"
        f"AttentionExplorer(['a'], [[[1.0]]], ['head'], alt={ALT!r})"
    )
    book = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    data = book.cells[0].outputs[-1].data
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "image/png"} <= set(data)
    assert data["text/plain"] == ALT


# --- in a real browser, from file://, with no kernel ---------------------------------------------


@pytest.mark.browser
def test_attention_is_read_by_mouse(show: Any) -> None:
    page = show(attention())
    assert "“mat” (token 6) attends most to “the” (token 5) with 100" in sentence(page)
    page.locator(".fm-tokens label").nth(1).hover()
    assert "“cat” (token 2) attends most to “the” (token 1)" in sentence(page)
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] * 3.5 / 6)
    assert "“on” (token 4) attends most to “sat” (token 3)" in sentence(page)
    page.locator("select").select_option("head 2")
    assert re.search(r"In head 2, “on” .* 25\s%, .* 25\s% and .* 25\s%\.", sentence(page))


@pytest.mark.browser
def test_attention_is_read_by_keyboard(show: Any) -> None:
    page = show(attention("to be or"))
    keys = page.keyboard
    keys.press("Tab")
    keys.press("ArrowDown")
    assert sentence(page).startswith("In head 2, “or” attends")
    keys.press("Tab")
    keys.press("ArrowLeft")
    assert sentence(page).startswith("In head 2, “be” attends most to “to” with 50")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    assert sentence(page).startswith("In head 2, “to” attends most to “to” with 100")


@pytest.mark.browser
def test_attention_paints_each_weight_and_leaves_out_what_a_causal_query_cannot_see(
    show: Any,
) -> None:
    page = show(attention("to be or"))
    read = "c => [...c.getContext('2d').getImageData(0, 0, 3, 3).data]"
    pixels = np.reshape(page.locator("canvas").evaluate(read), (3, 3, 4))
    assert (pixels[..., 3] > 0).tolist() == np.tril(np.ones((3, 3))).astype(bool).tolist()
    assert pixels[2, 1, :3].tolist() == [0xFE, 0xE8, 0x38]  # weight 1
    assert pixels[2, 0, :3].tolist() == [0x00, 0x22, 0x4E]  # weight 0


@pytest.mark.browser
def test_a_chain_is_stepped_by_mouse_and_tells_how(show: Any) -> None:
    page = show(chain())
    said = [sentence(page)]
    assert said[0].startswith("2 facts given, nothing derived yet.")
    back, forth = (page.get_by_role("button", name=name) for name in ("Back", "Next"))
    assert back.get_attribute("aria-disabled") == "true"
    for _ in range(3):  # one more than there are steps
        forth.click(force=True)
        said.append(sentence(page))
    assert (
        said[1] == "Step 1 of 2: “text of c” (certainty 0.50). How? By rule first from “text of a”."
    )
    assert said[2].startswith("Step 2 of 2, the conclusion: “text of d” (certainty −0.25). How?")
    assert said[2].endswith("By rule second from “text of b” and “text of c”.")
    assert said[3] == said[2]
    assert page.locator(".fm-premise .fm-number").all_inner_texts() == ["2", "3"]
    page.get_by_role("button", name="text of c").click()
    assert sentence(page) == said[1]
    assert page.locator(".fm-premise").count() == 1
    back.click()
    assert page.get_by_role("button", name="text of d").count() == 0, "not derived yet"


@pytest.mark.browser
def test_a_chain_is_stepped_by_keyboard(show: Any) -> None:
    page = show(chain())
    keys = page.keyboard
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Enter")
    assert sentence(page).startswith("Step 1 of 2: ")
    keys.press("Tab")
    keys.press("ArrowRight")
    assert sentence(page).startswith("Step 2 of 2, ")
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "step 2 of 2"
    keys.press("Tab")
    keys.press("Space")
    assert sentence(page).startswith("Step 1 of 2: ")
    keys.press("ArrowDown")
    assert sentence(page).startswith("Step 2 of 2, ")
    keys.press("ArrowUp")
    assert sentence(page).startswith("Step 1 of 2: ")


@pytest.mark.browser
def test_mails_are_read_by_mouse_and_keyboard_and_their_text_stays_text(show: Any) -> None:
    page = show(reader(letter("Third", "ham", "spam", "spam")))
    keys = page.keyboard
    assert sentence(page) == (
        "In truth “Lunch?” is ham (wanted mail). Right: filter 0. Wrong: filter 1."
    )
    keys.press("Tab")
    keys.press("ArrowDown")
    shown = HOSTILE.replace("\udcff", "\ufffd")
    assert page.locator("[aria-live]").text_content() == (
        f"In truth “{shown}” is spam. Right: filter 0 and filter 1."
    )
    subject = page.locator(".fm-letter:not(.fm-under) .fm-subject")
    assert subject.text_content() == shown
    assert page.locator(".fm-root img").count() == 0
    page.locator(".fm-box label").nth(2).click()
    assert sentence(page).endswith("Wrong: filter 0 and filter 1.")
    assert page.locator("li:visible").count() == 2
    assert page.locator(".fm-wrong:visible").all_inner_texts() == ["✗ wrong"] * 2
    assert "Right on these 3 mails: filter 0 2 and filter 1 1." in page.inner_text(".fm-tally")


@pytest.mark.browser
def test_a_subject_can_be_read_in_full_before_its_mail_is_opened(show: Any) -> None:
    long = "Your agent in a distant country has millions for you and asks for your account"
    wide = letter("RE: MIT OpenCourseWare", "ham", "ham", "spam")  # in bold it has two lines
    page = show(reader(letter(long, "spam", "spam", "ham"), wide))
    span = page.locator(".fm-box span").nth(2)
    assert span.inner_text() == long
    assert span.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")
    assert span.evaluate("e => e.clientHeight > parseFloat(getComputedStyle(e).lineHeight) * 1.5")
    heights = "all => all.map(e => e.offsetHeight)"
    before = page.locator(".fm-box label").evaluate_all(heights)
    page.locator(".fm-box label").nth(3).click()
    assert page.locator(".fm-box label").evaluate_all(heights) == before
    assert sideways(page) <= 0


@pytest.mark.browser
def test_on_a_phone_mails_are_chosen_from_a_menu(show: Any) -> None:
    page = show(reader(), width=390)
    assert page.locator(".fm-box").is_hidden()
    page.get_by_role("combobox").select_option("Lunch?")
    page.get_by_role("combobox").press("ArrowDown")
    assert "is spam" in sentence(page)


@pytest.mark.browser
def test_equal_widgets_on_one_page_do_not_disturb_each_other(show: Any) -> None:
    page = show(chain(), chain(), attention("to be or"), attention("to be or"))
    roots = page.locator(".fm-root")
    page.get_by_role("button", name="Next").nth(1).click()
    assert "nothing derived" in sentence(roots.nth(0))
    assert "Step 1 of 2" in sentence(roots.nth(1))
    page.locator(".fm-attention").nth(1).locator("label").nth(1).click()
    assert "“or” attends" in sentence(roots.nth(2))
    assert "“to” attends" in sentence(roots.nth(3))
    assert page.locator(".fm-attention").nth(0).locator("input:checked").count() == 1


@pytest.mark.browser
@pytest.mark.parametrize("make", MAKERS)
def test_a_widget_looks_the_same_beside_any_other(
    show: Any, make: Callable[[], BookWidget]
) -> None:
    look = """(root) => { const home = root.getBoundingClientRect();
        return [root, ...root.querySelectorAll('*')]
            .filter((e) => e.getBoundingClientRect().width).map((e) => {
            const box = e.getBoundingClientRect(), style = getComputedStyle(e);
            const at = [box.x - home.x, box.y - home.y, box.width].map(Math.round);
            return [...at, style.color, style.borderColor].join(' ');
        }); }"""
    others = [other() for other in MAKERS if other is not make]
    alone, between = show(make()), show(others[0], make(), others[1])
    first = alone.locator(".fm-root").evaluate(look)
    assert between.locator(".fm-root").nth(1).evaluate(look) == first


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [760, 390])
def test_no_barriers_no_sideways_scrolling_and_large_targets(
    show: Any, theme: str, width: int
) -> None:
    words = attention("the cat sat on the mat because it was very tired today")
    page = show(words, chain(), reader(), theme=theme, width=width)
    page.get_by_role("button", name="Next").click()
    assert barriers(page) == []
    assert sideways(page) <= 0
    small = """() => [...document.querySelectorAll('button, select, label, [type=range]')]
        .map((e) => [e.className || e.tagName, e.getBoundingClientRect()])
        .filter(([, box]) => box.width && Math.min(box.width, box.height) < 24)"""
    assert page.evaluate(small) == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("theme", "body", "system", "ground"),
    [
        ("light", "", "dark", DAY),
        ("dark", "", "light", NIGHT),
        ("", 'data-jp-theme-light="false"', "light", NIGHT),
        ("", 'data-jp-theme-light="true"', "dark", DAY),
        ("", "", "light", DAY),
        ("", "", "dark", NIGHT),
    ],
)
def test_the_page_says_whether_it_is_dark_else_the_system_does(
    show: Any, theme: str, body: str, system: str, ground: str
) -> None:
    page = show(chain(), theme=theme, body=body, color_scheme=system)
    read = "e => getComputedStyle(e).backgroundColor"
    assert page.locator(".fm-root").evaluate(read) == ground


@pytest.mark.browser
@pytest.mark.parametrize("make", MAKERS)
def test_without_javascript_the_picture_and_its_text_are_there(
    show: Any, make: Callable[[], BookWidget]
) -> None:
    page = show(make(), java_script_enabled=False, width=390)
    picture = page.get_by_role("img", name=make().alt)
    assert picture.is_visible()
    assert picture.bounding_box()["width"] > 200


@pytest.mark.browser
@pytest.mark.parametrize("make", MAKERS)
def test_a_widget_that_breaks_leaves_its_picture(
    browser: Any, tmp_path: Path, make: Callable[[], BookWidget]
) -> None:
    page, file = browser.new_page(), tmp_path / "broken.html"
    heard = complaints(page)
    head = "function render({ model, el }) {"
    file.write_text(html(make()).replace(head, f"{head} throw new Error('broken');"), "utf8")
    page.goto(file.as_uri())
    assert page.get_by_role("img", name=make().alt).is_visible()
    assert heard == ["exception: broken"]
    page.close()


@pytest.mark.browser
def test_nothing_moves_while_the_page_loads(show: Any) -> None:
    page = show(attention(), chain(), reader())
    moved = """() => new Promise((done) => {
        new PerformanceObserver((list) => done(list.getEntries().length))
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(() => done(0), 300);
    })"""
    assert page.evaluate(moved) == 0


@pytest.mark.browser
def test_hovering_over_tokens_does_not_move_them(show: Any) -> None:
    for head in (0, 1):  # short sentences with 100 %, long ones with less
        words = attention("a cat sat and then a dog sat on it", head=head)
        page = show(words, width=390)
        tokens = page.locator(".fm-tokens label")
        before = tokens.last.bounding_box()
        for i in (0, 1, 3, 9):
            tokens.nth(i).hover()
            assert tokens.last.bounding_box() == before


@pytest.mark.browser
def test_print_shows_the_whole_chain_and_no_buttons(show: Any) -> None:
    page = show(chain())
    facts = page.locator(".fm-fact:visible")
    assert facts.count() == 2
    page.emulate_media(media="print")
    assert facts.count() == 4
    assert page.get_by_role("button", name="Next").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("make", MAKERS)
def test_focus_is_visible_wherever_tab_leads(show: Any, make: Callable[[], BookWidget]) -> None:
    page = show(make())
    seen = 0
    for _ in range(6):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const on = document.activeElement.closest('.fm-root *');
                const style = on && getComputedStyle(on.closest('.fm-choice') ?? on);
                return style && `${style.outlineWidth} ${style.outlineStyle}`;
            }"""
        )
        if outline is not None:
            assert outline == "3px solid"
            seen += 1
    assert seen >= 1


@pytest.mark.browser
@pytest.mark.parametrize("make", [slider, walk, long_walk])
@LOOKS
def test_pictures_keep_nobody_out(
    make: Callable[[], BookWidget], show: Any, theme: str, width: int
) -> None:
    page = show(make(), theme=theme, width=width)
    assert barriers(page) == []
    assert sideways(page) <= 0
    out = """(root) => { const { right } = root.getBoundingClientRect();
        return [...root.querySelectorAll('*')]
            .filter((e) => e.getBoundingClientRect().right > right).map((e) => e.outerHTML); }"""
    assert page.locator(".fm-root").evaluate(out) == []  # what sticks out is cut off, not scrolled


@pytest.mark.browser
def test_a_kernels_numbers_stand_in_the_middle_and_its_sliders_under_each_other(show: Any) -> None:
    page = show(slider(), width=360)
    page.add_style_tag(content="td { vertical-align: top; }")  # as the site's theme has it
    middles = """(cell) => { const words = document.createRange(); words.selectNodeContents(cell);
        return [words, cell].map((e) => e.getBoundingClientRect())
            .map((box) => box.y + box.height / 2); }"""
    for cell in page.locator(".fm-products td").all():
        text, box = cell.evaluate(middles)
        assert abs(text - box) < 2
    row, column = (page.get_by_label(name).bounding_box() for name in ("row of", "column of"))
    assert row["x"] == column["x"]
    assert row["y"] + row["height"] <= column["y"]


def test_the_widgets_styles_leave_highlighted_code_alone() -> None:
    """Pygments marks tokens with short classes: `fm` is a function such as `__init__`."""
    from pygments.token import STANDARD_TYPES

    tokens = {name for name in STANDARD_TYPES.values() if name}
    static = Path(str(resources.files("fmbook.widgets"))) / "static"
    for file in sorted(static.glob("*.css")):
        classes = set(re.findall(r"\.([a-z][\w-]*)", file.read_text("utf8")))
        assert classes, file.name
        assert not classes & tokens, f"{file.name} styles {classes & tokens}"
