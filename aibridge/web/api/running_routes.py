"""`/api/config` and `/api/reload`: what is in force, and the file taken up anew."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, Field

from aibridge.config import Config
from aibridge.errors import BridgeError, ConfigError, Kind
from aibridge.masking import mask
from aibridge.web.api.describing import ApiRoute, Asked


class Reloaded(BaseModel):
    """What became of a reload."""

    needs_restart: list[str] = Field(description="keys that differ in the file and stay as they were")
    workers: int = Field(1, description="processes that took it up")
    failed: list[str] = Field([], description="sentences of processes that did not")


class RunningRoutes:
    """The routes."""

    def __init__(self, config: Callable[[], Config], reload: Callable[[str], Awaitable[Reloaded]]) -> None:
        """`reload` is told who wants it, and raises ConfigError where the file is wrong."""
        self._config, self._reload = config, reload

    def routes(self) -> tuple[ApiRoute, ...]:
        """For the table of `/api`."""
        return (
            ApiRoute(
                "GET",
                "/api/config",
                "The configuration in force, secrets masked.",
                self._tell,
                dict[str, Any],
            ),
            ApiRoute(
                "POST",
                "/api/reload",
                "Takes up the configuration file; no exchange is dropped.",
                self._take_up,
                Reloaded,
                refuses=(400,),
            ),
        )

    async def _tell(self, _asked: Asked) -> Any:
        return json.loads(mask(self._config().model_dump_json()))

    async def _take_up(self, asked: Asked) -> Reloaded:
        try:
            return await self._reload(asked.actor)
        except ConfigError as error:
            raise BridgeError(Kind.BAD_REQUEST, str(error)) from error
