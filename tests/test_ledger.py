"""The ledger: every recorded row can be shown, and the tables say what the records say."""

import pytest

from fmbook import ledger, records

EVERY = [(stem, row) for stem in records.recipes() for row in records.load(stem).get("ledger", [])]


@pytest.mark.parametrize(("stem", "row"), EVERY)
def test_a_row_is_complete_and_stands_in_its_table(stem: str, row: dict) -> None:
    assert row["decisions"]
    assert row["failures"]
    assert row["cpu_seconds"] >= 0
    measure = next(iter(row["quality"]))
    found = ledger.rows(row["task"], measure)
    mine = [r for r in found if (r.method, r.parameters) == (row["method"], row["parameters"])]
    assert len(mine) == 1
    assert mine[0].lines > 30
    table = ledger.table(found)
    cells, page = table.cells[found.index(mine[0])], table._repr_html_()
    assert all(f">{cell}<" in page for cell in cells)
    assert cells[0].startswith(row["method"])
    assert f"{row['parameters']:,}" in cells
    shown = [float(cell.replace(",", "")) for cell in cells[1 : 2 + len(row["quality"])]]
    recorded = [*(round(value, 3) for value in row["quality"].values()), row["cpu_seconds"]]
    assert shown[:-1] == recorded[:-1]
    assert shown[-1] == round(recorded[-1], 1)


def test_rows_stand_in_the_order_of_the_book() -> None:
    methods = [row.method for row in ledger.rows("spam", "recall")]
    assert methods[:3] == ["rules", "naive Bayes", "logistic regression"]


def test_numbers_of_a_column_have_equally_many_decimals() -> None:
    for task, measure in {(row["task"], next(iter(row["quality"]))) for _, row in EVERY}:
        for column in list(zip(*ledger.table(ledger.rows(task, measure)).cells, strict=True))[1:]:
            assert len({len(number.partition(".")[2]) for number in column}) == 1


def test_one_method_in_two_sizes_has_two_names() -> None:
    found = ledger.rows("digits", "accuracy")
    for table in (ledger.table(found), ledger.by_hand(found)):
        names = [cells[0] for cells in table.cells]
        assert len(set(names)) == len(names)
        assert {"multilayer perceptron, 61,225 parameters", "LeNet"} <= set(names)


def test_an_unknown_task_or_measure_is_said() -> None:
    with pytest.raises(ValueError, match=r"no 'chess' by 'recall'; it has: .*spam \(recall\)"):
        ledger.rows("chess", "recall")


def test_lines_are_code_alone() -> None:
    """Counted by hand on a module whose lines are known: comments and docstrings do not count."""
    row = ledger.rows("spam", "recall")[1]
    import inspect

    from fmbook.features import naive_bayes
    from tests.house import ROOT, code_lines

    assert row.module == naive_bayes.__name__
    assert row.lines == code_lines(ROOT / "fmbook/features/naive_bayes.py")
    assert row.lines < len(inspect.getsource(naive_bayes).splitlines()) / 2


def test_words_become_no_markup() -> None:
    page = ledger.Table(["a"], [["<script>"]])._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
