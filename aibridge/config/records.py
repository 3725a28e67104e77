"""What the records are: their database, what they hold and for how long, and what tokens cost."""

import re
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_serializer

from aibridge.config.units import Duration, Size
from aibridge.config.values import Model, switch
from aibridge.masking import MASK, mask

Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")


class DatabaseUrl(SecretStr):
    """A database's URL; what it shows has no password."""

    @property
    def passwords(self) -> frozenset[str]:
        """The secrets in it: as they are written, and as they are meant."""
        url = self.get_secret_value()
        written = [urlsplit(url).password or "", *QUERY_PASSWORD.findall(url)]
        return frozenset(word for each in written if each for word in (each, unquote(each)))

    def _display(self) -> str:
        return QUERY_PASSWORD.sub(MASK, mask(self.get_secret_value()))


def _database_url(url: DatabaseUrl) -> DatabaseUrl:
    value = url.get_secret_value()
    if value.startswith("sqlite:///"):
        return url
    if not value.startswith(("postgresql://", "postgres://")) or len(urlsplit(value).path) < 2:
        raise ValueError("write a URL like sqlite:///aibridge.db or postgresql://user:password@host/database")
    return DatabaseUrl(f"postgresql://{value.partition('://')[2]}")


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"this is no regular expression of Python: {error}") from None
    return value


class Price(Model):
    """Dollars per million tokens; what is not given costs what the tokens around it cost."""

    input: Dollars = Field(0.0, description="tokens that are neither from nor into the cache")
    output: Dollars = Field(0.0, description="tokens of the answer")
    cache_read: Dollars | None = Field(None, description="input from the provider's cache; default: input")
    cache_write: Dollars | None = Field(None, description="input into the cache; default: input")
    reasoning: Dollars | None = Field(None, description="reasoning in the answer; default: output")
    audio_input: Dollars | None = Field(None, description="audio in the request; default: input")
    audio_output: Dollars | None = Field(None, description="audio in the answer; default: output")


class Records(Model):
    """Where usage records go and what they hold."""

    enabled: bool = Field(True, description="false: no records, no keys, nothing on the disk")
    url: Annotated[DatabaseUrl, AfterValidator(_database_url)] = Field(
        DatabaseUrl("sqlite:///aibridge.db"), description="database: SQLite or PostgreSQL"
    )
    journal: str = Field("./aibridge-journal", description="folder of the write-ahead journal")
    prompts: bool = Field(True, description="keep prompt and reasoning texts")
    arguments: bool = Field(True, description="keep tool arguments")
    results: bool = Field(False, description="keep tool results")
    journal_limit: Size = Field(1 << 30, description="bytes of all journals in the folder, then `on_full`")
    on_full: Literal["wait", "drop"] = Field(
        "wait", description="no room for records: wait (new requests get 503) or drop (they go unrecorded)"
    )
    retention: Annotated[Duration | Literal["off"], BeforeValidator(switch)] = Field(
        90 * 86400.0, description="rows older than that are deleted, daily; off keeps them"
    )
    redact: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        [], description="patterns that are masked in kept texts, beside what looks like a credential"
    )

    pricing: dict[str, Price] = Field(
        {}, description="prices by pattern of model or upstream/model, before those of genai-prices"
    )

    @field_serializer("url", when_used="json")
    def _shown(self, url: DatabaseUrl) -> str:
        return str(url)
