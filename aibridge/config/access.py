"""Who may call; what a single key allows is in `key_rules`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from aibridge.config.values import Model, switch


def _redis_url(url: SecretStr) -> SecretStr:
    value = url.get_secret_value()
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("write a URL like redis://:password@host:6379/0")
    return url


class Access(Model):
    """Who may call, and how much."""

    keys: Annotated[Literal["off", "optional", "required"], BeforeValidator(switch)] = Field(
        "optional", description="keys of aibridge: not looked at, limiting those that have one, or needed"
    )
    admin_key: SecretStr | None = Field(None, description="for /api and details; absent: only this machine")
    redis: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None, description="URL of a Redis that several machines share for rates and concurrency"
    )
    on_limiter_down: Literal["allow", "deny"] = Field(
        "allow", description="Redis away: each process limits by itself, or 503 for callers with limits"
    )

    @field_validator("admin_key", "redis", mode="after")
    @classmethod
    def _given(cls, value: SecretStr | None) -> SecretStr | None:
        """An environment variable that is empty is none."""
        return value if value and value.get_secret_value() else None

    @field_validator("admin_key", mode="after")
    @classmethod
    def _no_caller(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value().startswith("sk-aib-"):
            raise ValueError("sk-aib- begins the keys of callers; write another secret")
        return value
