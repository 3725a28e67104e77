"""The command `aibridge`: one file a group of commands; each command loads what it needs when it runs."""

from typing import Annotated

import typer

from aibridge import __version__
from aibridge.cli import check, config, demo, keys, records, serve, tools, usage

main = typer.Typer(
    help="An OpenAI-compatible proxy that gives any client the tools of your MCP servers.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
main.command(name="demo")(demo.demo)
main.command(name="serve")(serve.serve)
main.command(name="check")(check.check)
main.add_typer(tools.app, name="tools")
main.add_typer(keys.app, name="keys")
main.command(name="config")(config.config)
main.add_typer(usage.app, name="usage")
main.add_typer(records.app, name="records")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aibridge {__version__}")
        raise typer.Exit


@main.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the command itself."""
