"""OAuth client credentials for an HTTP server: mcp's provider gets the tokens, one request at a time.

mcp 2.3's flow holds a lock until the authenticated request is answered, which would run all calls one after
the other. Here it is left as soon as the request has its token; what it asks authorization servers passes.
"""

from collections.abc import AsyncGenerator

import httpx2
import structlog
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from aibridge.config import OAuth
from aibridge.tools.failures import one_sentence
from aibridge.tools.http_errors import ASIDE, NO_TOKEN

REFUSED = frozenset({401, 403})

log = structlog.get_logger(__name__)


class _Storage:
    """Tokens for as long as the connection lasts."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        return None


class _Provider(ClientCredentialsOAuthProvider):
    """Asks for the configured scope; mcp's asks for what the server's challenge names, or for none."""

    def __init__(self, url: str, config: OAuth) -> None:
        secret = config.client_secret.get_secret_value()
        super().__init__(url, _Storage(), config.client_id, secret, scope=config.scope, issuer=config.issuer)
        self._wanted_scope = config.scope

    async def _perform_authorization(self) -> httpx2.Request:
        if self._wanted_scope is not None:
            self.context.client_metadata.scope = self._wanted_scope
        return await super()._perform_authorization()


class ClientCredentials(httpx2.Auth):
    """Puts a token into each request to `url`, and gets a new one where it was refused."""

    def __init__(self, server: str, url: str, config: OAuth) -> None:
        self._server = server
        self._provider = _Provider(url, config)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """The request, again with a new token where the first one was refused."""
        refusal: httpx2.Response | None = None
        for _ in range(2):
            flow = self._with_token(request, refusal)
            try:
                aside = await anext(flow, None)
                while aside is not None:
                    aside.extensions = {**aside.extensions, ASIDE: True}
                    answer = yield aside
                    try:
                        aside = await flow.asend(answer)
                    except StopAsyncIteration:
                        aside = None
            except OAuthFlowError as error:
                log.warning("no oauth token", server=self._server, reason=one_sentence(str(error)))
                request.extensions = {**request.extensions, NO_TOKEN: True}
            finally:
                await flow.aclose()
            refusal = yield request
            if refusal.status_code not in REFUSED or NO_TOKEN in request.extensions:
                return

    async def _with_token(
        self, request: httpx2.Request, refusal: httpx2.Response | None
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """What has to be asked of others until `request` has a token; `refusal` answered its last one."""
        used = request.headers.get("authorization")
        flow = self._provider.async_auth_flow(request)
        try:
            asked = await anext(flow, None)
            while asked is not None:
                if asked is not request:
                    asked = await flow.asend((yield asked))
                elif refusal is not None and request.headers.get("authorization") == used:
                    asked, refusal = await flow.asend(refusal), None
                else:
                    return  # it has a token, or is the first to be told that it needs one
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()
