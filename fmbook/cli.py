"""The console program `fmbook`: data and this machine, a notebook's checks, a course's grades."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any


def main() -> None:
    """Run the command line; without its library, say what to install."""
    try:
        import typer
        from typer import Argument, Option
    except ImportError:
        sys.exit("fmbook's command line needs typer: pip install 'fmbook[notebook]'")

    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

    @app.callback()
    def book() -> None:
        """From hand-written rules to foundation models: for readers, students and instructors."""

    @app.command()
    def data(
        names: Annotated[list[str] | None, Argument(help="data sets; all without a name")] = None,
        cards: Annotated[bool, Option("--cards", help="print data cards, fetch nothing")] = False,
        force: Annotated[bool, Option("--force", help="fetch again what is here")] = False,
    ) -> None:
        """Fetch the book's data sets from their pinned packages, each checked by sha256."""
        from fmbook import archives

        try:
            for name in names or archives.names():
                if cards:
                    typer.echo(f"{archives.card(name)}\n")
                    continue
                file = archives.fetch(name, force=force)
                typer.echo(f"{name}: {file} ({file.stat().st_size / 1e6:.1f} MB, sha256 checked)")
        except (ValueError, archives.DataError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None

    @app.command()
    def doctor() -> None:
        """Check Python, packages, data, device, Node and browser: a line each, OK or what to do."""
        from fmbook.doctor import main as examine

        raise typer.Exit(examine())

    @app.command()
    def check(
        notebook: Annotated[Path, Argument(help="the exercise that you work on")],
        seconds: Annotated[float, Option(help="time limit of a cell")] = 60.0,
        as_json: Annotated[bool, Option("--json", help="for programs")] = False,
    ) -> None:
        """For students: run a notebook's visible checks and say what each finds."""
        from fmbook.grading import check

        raise typer.Exit(check.check(notebook, seconds=seconds, as_json=as_json))

    _instructors(app)
    app()


def _instructors(app: Any) -> None:
    """The commands that work on a course folder; they need the extra `grading`."""
    import typer
    from typer import Argument, Option

    Era = Annotated[str | None, Argument(help="assignment; all without one")]
    Stem = Annotated[str | None, Option("--notebook", help="one chapter of the era")]
    Student = Annotated[str | None, Option(help="one student")]
    Course = Annotated[Path | None, Option(help="course folder; else the current one")]
    Db = Annotated[str | None, Option(help="gradebook's address, such as postgresql://...")]
    Json = Annotated[bool, Option("--json", help="for programs")]

    @app.command()
    def release(
        eras: Annotated[list[str] | None, Argument(help="assignments; all without one")] = None,
        dry_run: Annotated[bool, Option("--dry-run", help="say what would change")] = False,
        new_points: Annotated[bool, Option(help="points may change after grading")] = False,
        new_gradebook: Annotated[bool, Option(help="start without the old gradebook")] = False,
        include: Annotated[list[str] | None, Option(help="extra files students get")] = None,
        course: Course = None,
        db: Db = None,
        as_json: Json = False,
    ) -> None:
        """Make the students' notebooks and tell the gradebook; refuses before anything breaks."""
        run = _part("release").release
        wishes = {"new_points": new_points, "new_gradebook": new_gradebook}
        given = {"folder": course, "db": db, "dry_run": dry_run, "as_json": as_json}
        raise typer.Exit(run(eras or (), include=include or (), **given, **wishes))

    @app.command()
    def grade(
        era: Era = None,
        stem: Stem = None,
        student: Student = None,
        jobs: Annotated[int, Option(help="submissions at a time")] = 1,
        scheduler: Annotated[str, Option(help="Dask's: tcp://HOST:8786, or tls://")] = "",
        audit: Annotated[float, Option(help="share of far results repeated here")] = 0.02,
        regrade: Annotated[bool, Option("--regrade", help="also what is graded")] = False,
        tier: Annotated[str | None, Option(help="isolated or in-process, for all checks")] = None,
        allow_unsafe: Annotated[
            bool, Option("--allow-unsafe", help="run without walls: only code you trust")
        ] = False,
        seconds: Annotated[float, Option(help="time limit of a submission")] = 120.0,
        dry_run: Annotated[bool, Option("--dry-run", help="say what would be done")] = False,
        course: Course = None,
        db: Db = None,
        as_json: Json = False,
    ) -> None:
        """Grade what is new in a course folder; a student's code runs behind walls."""
        what = {"era": era, "stem": stem, "student": student, "regrade": regrade, "tier": tier}
        how = {"jobs": jobs, "allow_unsafe": allow_unsafe, "total_seconds": seconds}
        far = {"scheduler": scheduler, "audit": audit}
        options, run = _part("grade").Options(**what, **how, **far), _part("command").run
        raise typer.Exit(run(options, course=course, db=db, dry_run=dry_run, as_json=as_json))

    @app.command()
    def feedback(
        era: Era = None,
        stem: Stem = None,
        student: Student = None,
        jobs: Annotated[int, Option(help="pages at a time; 0: by the machine")] = 0,
        force: Annotated[bool, Option("--force", help="write all pages anew")] = False,
        course: Course = None,
        db: Db = None,
        as_json: Json = False,
    ) -> None:
        """Write a page for each graded notebook: points, named mistakes, hints."""
        given = {"student": student, "jobs": jobs, "force": force, "course": course, "db": db}
        raise typer.Exit(_part("feedback").main(era, stem, **given, as_json=as_json))

    @app.command()
    def report(
        era: Era = None,
        stem: Stem = None,
        out: Annotated[Path | None, Option(help="file to write")] = None,
        csv: Annotated[str | None, Option(help="plain, canvas or moodle")] = None,
        course: Course = None,
        db: Db = None,
        as_json: Json = False,
    ) -> None:
        """Write the instructor's page on the class, or the scores for a course system."""
        given = {"out": out, "form": csv, "course": course, "db": db, "as_json": as_json}
        raise typer.Exit(_part("report").main(era, stem, **given))


def _part(name: str) -> Any:
    """A module of the grading engine, or what to install."""
    try:
        return importlib.import_module(f"fmbook.grading.{name}")
    except ImportError as error:
        sys.exit(f"grading needs {error.name}: pip install 'fmbook[grading]'")
