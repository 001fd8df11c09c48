"""Every notebook: stripped, stable, within its budgets; chapters and set-up cells in their form."""

import re
import statistics

import pytest
import yaml

from fmbook.archives import names
from tests.house import ROOT, notebook, stems
from tools.execution import BUDGET, journal

CHAPTERS = [f"chapters/{stem}.ipynb" for stem in stems()]
SOLUTIONS = [f"solutions/{stem}.ipynb" for stem in stems()]
READS_NO_DATA = {  # sequences that are drawn, and a model that the package brings along
    "solutions/sequences/lstm.ipynb",
    "solutions/transformers/attention.ipynb",
    "solutions/transformers/sampling.ipynb",
}
ALL = sorted(
    f.relative_to(ROOT).as_posix()
    for top in ("chapters", "solutions", "exercises")
    for f in (ROOT / top).rglob("*.ipynb")
    if ".ipynb_checkpoints" not in f.parts
)
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))


def words(path: str) -> int:
    """Words of prose: Markdown without code, formulas, tags and addresses."""
    text = "\n".join(c.source for c in notebook(path).cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", text, flags=re.S)
    text = re.sub(r"<[^>]+>|\$[^$\n]+\$|\]\([^)]*\)|`[^`]*`", " x ", text)
    return len(re.findall(r"[A-Za-z0-9][\w'’-]*", text))


def code(path: str) -> list[str]:
    """The sources of the code cells that a reader works with (not the set-up cell)."""
    cells = [c.source for c in notebook(path).cells if c.cell_type == "code"]
    return [source for source in cells if "google.colab" not in source]


@pytest.mark.parametrize("path", ALL)
def test_a_notebook_is_stripped_and_has_stable_ids(path: str) -> None:
    nb = notebook(path)
    ids = [cell.get("id") for cell in nb.cells]
    assert all(ids)
    assert len(ids) == len(set(ids))
    assert not [c.id for c in nb.cells if c.cell_type == "code" and c.outputs]
    assert not [c.id for c in nb.cells if c.cell_type == "code" and c.execution_count is not None]
    assert nb.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_keeps_its_budget(path: str) -> None:
    lengths = [len(source.splitlines()) for source in code(path)]
    assert 2000 <= words(path) <= 3000, f"{words(path)} words"
    assert 15 <= len(lengths) <= 25, f"{len(lengths)} code cells"
    assert statistics.median(lengths) <= 6, f"median cell of {statistics.median(lengths)} lines"
    assert max(lengths) <= 25
    figures = sum(len(re.findall(r"plot\.show\(", source)) for source in code(path))
    assert 4 <= figures <= 6, f"{figures} figures"


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_predicts_three_times_and_asserts_its_claims(path: str) -> None:
    prose = "\n".join(c.source for c in notebook(path).cells if c.cell_type == "markdown")
    assert prose.count("> **Predict.**") == 3
    assert prose.count("<details>") >= 3
    assert prose.count("<details>") == prose.count("</details>")
    assert sum("assert " in source for source in code(path)) >= 8
    assert not re.search(r"\b(simply|obviously|just|trivially)\b", prose, flags=re.I)
    assert len(re.findall(r"\{cite\}`", prose)) >= 4


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chapter_opens_with_its_furniture(path: str) -> None:
    top = notebook(path).cells[0].source
    assert top.startswith("# ")
    minutes = re.search(r"\*\*(\d+) minutes\*\*", top)
    promised = re.search(r"\*\*at most (\d+) CPU-seconds\*\*", top)
    assert minutes, "the first cell says how many minutes it takes"
    assert promised, "the first cell says how many CPU-seconds it takes"
    assert 60 <= int(minutes[1]) <= 90
    repository = CONFIG["repository"]
    colab = repository["url"].replace("github.com", "colab.research.google.com/github")
    exercise = path.replace("chapters/", "exercises/")
    assert f"]({colab}/blob/{repository['branch']}/{exercise})" in top
    used = journal()[path]["cpu_seconds"]
    print(f"{path}: {used} CPU-s, {words(path)} words, {len(code(path))} code cells")
    assert used <= int(promised[1]), f"{used} CPU-seconds, the chapter promises {promised[1]}"


def test_chapters_take_25_cpu_seconds_in_the_median() -> None:
    seconds = [journal()[path]["cpu_seconds"] for path in CHAPTERS]
    assert statistics.median(seconds) <= 25, seconds
    assert max(seconds) <= BUDGET["chapters"]


@pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS])
def test_the_setup_cell_installs_in_colab_and_is_silent_elsewhere(path: str) -> None:
    import fmbook

    cells = [c.source for c in notebook(path).cells if c.cell_type == "code"]
    assert cells[0].startswith(
        "# In Colab this installs the book's library; anywhere else it does nothing."
    )
    url = f"git+{CONFIG['repository']['url']}@v{fmbook.__version__}"
    assert f'%pip install --quiet --no-deps "{url}"' in cells[0]
    body = cells[0].split('if "google.colab" in sys.modules:\n')
    assert len(body) == 2
    assert all(line.startswith("    ") or not line for line in body[1].splitlines())


@pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS])
def test_the_setup_cell_fetches_what_the_other_cells_read(path: str) -> None:
    cells = [c.source for c in notebook(path).cells if c.cell_type == "code"]
    archives = set(names())
    read = set(re.findall(r"\b(?:data|weights)\.(\w+)\(", "\n".join(cells[1:]))) & archives
    fetched = set(re.findall(r'"(\w+)"', cells[0])) & archives
    assert read <= fetched, f"in Colab {read - fetched} would be missing"
    if path.startswith("solutions/") and path not in READS_NO_DATA:
        assert fetched, "records read data too: fetch it, or say in READS_NO_DATA that none is read"


@pytest.mark.parametrize("stem", stems())
def test_a_chapter_announces_its_exercise_as_it_is(stem: str) -> None:
    prose = [c.source for c in notebook(f"chapters/{stem}.ipynb").cells]
    line = next(text.split("## Exercise\n", 1)[1] for text in prose if "## Exercise\n" in text)
    announced = line.split("\n## ")[0]
    solution = notebook(f"solutions/{stem}.ipynb").cells
    top = solution[0].source
    tasks = re.findall(
        r"^## (?:Task \d|Written).*\((\d+) points, (?:difficulty \d, )?(\d+) minutes\)$",
        "\n".join(cell.source for cell in solution if cell.cell_type == "markdown"),
        flags=re.M,
    )
    points, minutes = (sum(map(int, column)) for column in zip(*tasks, strict=True))
    assert len(tasks) == 5
    assert f"**{points} points**, **about {minutes} minutes**" in top
    assert f"{points} points" in announced
    assert f"about {minutes} minutes" in announced


@pytest.mark.parametrize("path", CHAPTERS)
def test_only_portable_markdown_is_used(path: str) -> None:
    for cell in notebook(path).cells:
        if cell.cell_type == "markdown":
            roles = set(re.findall(r"\{(\w[\w:-]*)\}`", cell.source))
            assert roles <= {"cite"}, f"{cell.id} uses the role {roles - {'cite'}}"
            assert not re.search(r"^(```|:::)\{", cell.source, flags=re.M), (
                f"{cell.id}: a directive"
            )


@pytest.mark.parametrize("path", [p for p in ALL if not p.startswith("exercises/")])
def test_relative_links_lead_somewhere(path: str) -> None:
    for cell in notebook(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
                if not target.startswith(("http", "#", "mailto:")):
                    file = (ROOT / path).parent / target.split("#")[0]
                    assert file.exists(), f"{path}, cell {cell.id}: {target}"
                else:
                    assert target.startswith(("https://", "#")), (
                        f"{path}: {target} is no https address"
                    )
