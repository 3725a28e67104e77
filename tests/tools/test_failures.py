"""What is told of failures holds no secret and no address."""

from aibridge.tools.backoff import Backoff
from aibridge.tools.failures import masking, one_sentence


def test_secrets_and_bearer_tokens_are_masked() -> None:
    mask = masking(["Bearer abcdefgh12345", "UTC", "long-secret-1"])
    assert mask("at UTC with abcdefgh12345 and long-secret-1") == "at UTC with *** and ***"
    assert mask("Bearer abcdefgh12345") == "***"


def test_nothing_is_masked_without_secrets() -> None:
    assert masking([])("a b") == "a b"


def test_a_foreign_text_becomes_one_line_without_addresses() -> None:
    text = one_sentence("failed:\n  see https://user:pw@example.com/x?key=1 now " + "y" * 500)
    assert text.startswith("failed: see (address) now y")
    assert len(text) == 300


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(1, 8)
    waits = [backoff.after(0) for _ in range(6)]
    for wait, middle in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert middle * 0.5 <= wait <= middle * 1.5


def test_only_a_long_life_starts_over() -> None:
    backoff = Backoff(1, 8)
    for _ in range(5):
        backoff.after(7.9)
    assert backoff.after(7.9) >= 4
    assert backoff.after(8) <= 1.5
