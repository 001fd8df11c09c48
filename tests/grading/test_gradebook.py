"""What one submission asks of the gradebook costs the same in a class of any size."""

from contextlib import closing
from pathlib import Path

from fmbook.grading.gradebook import Gradebook
from tests.grading import small

OF_THE_CLASS = ("grade", "comment", "submitted_notebook", "submitted_assignment", "student")


def test_no_statement_of_a_submission_reads_the_rows_of_the_whole_class(tmp_path: Path) -> None:
    """SQLite says how it would go about each; a table with rows of all students is searched."""
    with closing(Gradebook(small.make(tmp_path / "course").db_url)) as gradebook:
        statements = vars(gradebook.sql)
        with closing(gradebook.engine.raw_connection()) as db:
            for name, statement in statements.items():
                asked = statement.compile(dialect=gradebook.engine.dialect)
                cursor = db.cursor()
                cursor.execute(f"explain query plan {asked}", ["x"] * len(asked.positiontup))
                steps = {" ".join(row[3].split()[:2]) for row in cursor.fetchall()}
                assert not steps & {f"SCAN {table}" for table in OF_THE_CLASS}, name
    assert {"grades", "comments", "submission", "notebooks"} <= statements.keys()
