"""`aibridge config`: what is in force, secrets masked, or the schema of the file."""

import json
from typing import Annotated

import typer
import yaml

from aibridge.cli.options import ConfigOption, load_config
from aibridge.config import Config
from aibridge.masking import mask


def config(
    config: ConfigOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the file.")] = False,
    form: Annotated[str, typer.Option("--format", help="yaml or json.")] = "yaml",
) -> None:
    """Print the effective configuration, secrets masked."""
    if schema:
        typer.echo(json.dumps(Config.model_json_schema(), indent=2))
        return
    value = load_config(config).model_dump(mode="json")
    told = json.dumps(value, indent=2) if form == "json" else yaml.safe_dump(value, sort_keys=False)
    typer.echo(mask(told.rstrip()))  # an MCP server's URL may carry a key
