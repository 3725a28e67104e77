"""An upstream: how it is reached, which models it serves, and what happens when it fails."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from aibridge.config.units import Duration
from aibridge.config.values import HttpUrl, Model, Name, http_url, switch


def _without_credential(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise ValueError("write no user or password into a URL, which is no secret; use api_key or headers")
    if "?" in url or "#" in url:
        raise ValueError("write no query into base_url: paths are put behind it; use api_key or headers")
    return url


BaseUrl = Annotated[HttpUrl, AfterValidator(_without_credential)]


def _certificates(path: str) -> str:
    import ssl  # noqa: PLC0415 - only where it is needed

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError(f"{path} holds no certificates in PEM") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


CaFile = Annotated[str, AfterValidator(_certificates)]


class Upstream(Model):
    """A model server that speaks an OpenAI-compatible API."""

    base_url: BaseUrl = Field(description="the URL up to and with /v1")
    api_key: SecretStr | list[SecretStr] | None = Field(
        None, description="sent as bearer; a list is used in turn; absent: the caller's own goes on"
    )
    models: list[str] = Field(["*"], description="patterns of the models it serves")
    aliases: dict[str, str] = Field({}, description="other names of its models: {alias: model}")
    apis: list[Literal["chat_completions", "responses", "messages"]] = Field(
        ["chat_completions", "responses", "messages"], description="the APIs that it speaks"
    )
    headers: dict[str, SecretStr] = Field({}, description="added to every request")
    connect_timeout: Duration = Field(10.0, description="until a connection is open")
    first_byte_timeout: Duration = Field(600.0, description="until the status of an answer is known")
    idle_timeout: Duration = Field(300.0, description="between two pieces of an answer")
    send_back: Literal["all", "none"] | list[str] = Field(
        "all", description="unknown fields of a turn that go back upstream: all, none, or their names"
    )
    retries: int = Field(2, ge=0, le=10, description="until the first byte of a round's answer")
    fallback: list[Name] = Field([], description="upstreams tried next, in round 1 only")
    breaker: Annotated[Duration | Literal["off"], BeforeValidator(switch)] = Field(
        5.0, description="pause of a model that keeps failing, doubled up to a minute"
    )
    ca_file: CaFile | None = Field(None, description="certificates trusted beside the system's")
    proxy: SecretStr | None = Field(None, description="URL of an HTTP proxy")

    def api_keys(self) -> list[str]:
        """The keys of our own, none where the caller's credential goes on."""
        keys = self.api_key if isinstance(self.api_key, list) else [self.api_key]
        return [key.get_secret_value() for key in keys if key is not None]

    @field_validator("api_key", mode="before")
    @classmethod
    def _some_key(cls, keys: Any) -> Any:
        """Variables of a list that are empty leave a gap: the other keys serve."""
        if not isinstance(keys, list):
            return keys
        if not (given := [key for key in keys if key is not None]):
            raise ValueError("the list holds no key; give one, or leave `api_key` out")
        return given

    @field_validator("proxy")
    @classmethod
    def _http_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            http_url(proxy.get_secret_value())
        return proxy
