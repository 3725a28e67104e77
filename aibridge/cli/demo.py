"""`aibridge demo`: the main job with nothing but this machine.

Starts a scripted model and a small MCP server as programs of their own and the bridge here, sends one
streamed question through it with the OpenAI SDK, shows what the client saw and what was hidden, then serves.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aibridge import tasks
from aibridge.cli.options import fail, printable

if TYPE_CHECKING:
    from aibridge.app import App

QUESTION = 'call weather {"city": "Paris"} and call add {"a": 19, "b": 23}'
PATIENCE = 30.0
"""Seconds for the parts of the demo to be ready."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the question.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the bridge; 0 takes a free one.")
    ] = 4180,
) -> None:
    """Show the main job: one question, an injected tool, one seamless answer, one record."""
    from aibridge.cli.running import bind, url_of

    listening = bind("127.0.0.1", 0 if once else port)
    with tempfile.TemporaryDirectory(prefix="aibridge-demo-") as folder, _model() as upstream:
        from aibridge.app import create_app
        from aibridge.config import parse
        from aibridge.telemetry import logging

        settings = parse(_configuration(upstream, Path(folder)), environ={})
        logging.configure(settings.telemetry.log.model_copy(update={"level": "warning"}))
        app = create_app(settings)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_show(app, listening, url_of(listening), once=once))


def _configuration(upstream: str, folder: Path) -> dict[str, Any]:
    """What a user would write to `aibridge.yaml`."""
    return {
        "upstreams": {"scripted": {"base_url": f"{upstream}/v1", "models": ["scripted*", "gpt-*"]}},
        "mcp_servers": {"demo": {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}},
        "records": {
            "url": f"sqlite:///{folder / 'aibridge.db'}",
            "journal": str(folder / "journal"),
            "results": True,
        },
    }


@contextlib.contextmanager
def _model() -> Iterator[str]:
    """The scripted model as a program; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "aibridge.demo.model", "--port", str(port)]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait()


async def _show(app: "App", listening: socket.socket, url: str, *, once: bool) -> None:
    from aibridge.cli.running import server_for

    server = server_for(app)
    serving = tasks.start(server.serve(sockets=[listening]), "bridge")
    try:
        await _ready(app)
        await _ask(url)
        await asyncio.to_thread(_tell_record, app)
        if not once:
            typer.echo(_invitation(url))
            await serving
    finally:
        server.should_exit = True
        await serving


async def _ready(app: "App") -> None:
    """Wait until the model answers and the tools are there."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        with contextlib.suppress(Exception):
            states = app.states()
            probes = [await upstream.probe() for upstream in app.rooms().router.upstreams]
            if all(works for works, _ in probes) and states["mcp_servers"]["demo"]["state"] == "connected":
                return
        if app.failure or asyncio.get_running_loop().time() > end:
            fail(app.failure or f"the demo's parts were not ready after {PATIENCE:.0f} s")
        await asyncio.sleep(0.05)


async def _ask(url: str) -> None:
    """The question through the OpenAI SDK, and what a client sees of the answer."""
    import openai

    typer.echo(f"The client asks, with no tools of its own:\n  {QUESTION}\n\nThe client sees one stream:")
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="demo") as client:
        stream = await client.chat.completions.create(
            model="scripted-1",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        typer.echo("  ", nl=False)
        async for chunk in stream:
            for choice in chunk.choices:
                typer.echo(printable(choice.delta.content or ""), nl=False)
            if chunk.usage:
                typer.echo(
                    f"\n  usage: {chunk.usage.prompt_tokens} in, {chunk.usage.completion_tokens} out\n"
                )


def _tell_record(app: "App") -> None:
    """The exchange as `aibridge usage show` tells it."""
    from aibridge.cli.stories import story_lines
    from aibridge.records import queries
    from aibridge.records.opening import open_store

    app.rooms().recorder.flush()
    store, _ = open_store(app.config.records)
    with contextlib.closing(store), store.reading() as connection:
        story = queries.exchange(connection, "last")
    lines = "\n".join(f"  {printable(line)}" for line in story_lines(story))
    typer.echo(f"What was hidden, from the usage record:\n{lines}\n")


def _invitation(url: str) -> str:
    return f"""The bridge serves {url}/v1 until Ctrl-C. Try:

  curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d \\
    '{{"model": "scripted-1", "stream": true, "messages": [{{"role": "user", "content": "call now {{}}"}}]}}'

  python -c 'import openai; print(openai.OpenAI(base_url="{url}/v1", api_key="x").chat.completions.create(
    model="scripted-1", messages=[{{"role": "user", "content": "call now {{}}"}}],
  ).choices[0].message.content)'

  K=x codex exec --skip-git-repo-check -m scripted-1 -c model_provider=a -c \\
    'model_providers.a={{name="a",base_url="{url}/v1",env_key="K",wire_api="responses"}}' 'call now {{}}'
"""
