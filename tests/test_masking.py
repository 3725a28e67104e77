"""What looks like a credential is masked, what does not stays; and the cheap look never misses one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.masking import MASK, mask, may_need_mask, names_secret

SECRETS = [
    ("Authorization: Bearer abc123def456", "abc123def456"),
    ("my key is sk-proj-0123456789abcdef ok", "0123456789abcdef"),
    ("postgresql://me:s3cr3t@host/db", "s3cr3t"),
    ("https://host/path?api_key=abcdef&x=1", "abcdef"),
    ("https://host/path?x=1&access_token=abcdef", "abcdef"),
    ('{"password": "hunter2", "user": "ada"}', "hunter2"),
    (r'{"text": "{\"client_secret\":\"hunter2\"}"}', "hunter2"),
    ("{'api-key': 'hunter2'}", "hunter2"),
    ("DB_PASSWORD=hunter2 run", "hunter2"),
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    ("ghp_0123456789abcdefghij", "0123456789abcdefghij"),
    ("glpat-0123456789abcdefghij", "0123456789abcdefghij"),
    ("xoxb-0123456789-abcdef", "0123456789-abcdef"),
    ("AIzaSyA0123456789abcdef", "SyA0123456789abcdef"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJB\n-----END RSA PRIVATE KEY-----", "MIIBOgIBAAJB"),
    ("sk_live_0123456789abcdef", "0123456789abcdef"),
]


@pytest.mark.parametrize(("said", "secret"), SECRETS)
def test_a_credential_is_masked(said: str, secret: str) -> None:
    assert secret in said
    assert secret not in mask(said) and MASK in mask(said)
    assert may_need_mask(said)


@pytest.mark.parametrize(
    "said",
    [
        "What is the next token of this sentence?",
        "max_tokens: 100, tokens=5",
        "https://example.com/a?page=2",
        '{"next": "x", "tokens": 12}',
        "api_key: null",
        "api_key: '****'",
        "the keyboard and the secretary",
        "ask-me-anything about risk-taking-behaviour",
    ],
)
def test_what_is_no_credential_stays(said: str) -> None:
    assert mask(said) == said


@given(st.text(max_size=40), st.sampled_from([said for said, _ in SECRETS]), st.text(max_size=40))
def test_the_cheap_look_never_misses_what_would_be_masked(before: str, said: str, after: str) -> None:
    text = before + said + after
    if mask(text) != text:
        assert may_need_mask(text)


def test_names_of_secrets_are_known() -> None:
    assert all(map(names_secret, ("password", "X-Api-Key", "refresh_token", "token")))
    assert not any(map(names_secret, ("tokens", "key", "team", 5, None)))
