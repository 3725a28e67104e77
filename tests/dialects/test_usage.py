"""Usage of several rounds as the client is told of it."""

from aibridge.dialects.usage import shown_usage

CACHED = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "total_tokens": 1010,
    "prompt_cache_hit_tokens": 900,
    "prompt_cache_miss_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
LAST = {
    "prompt_tokens": 1030,
    "completion_tokens": 10,
    "total_tokens": 1040,
    "prompt_cache_hit_tokens": 1000,
    "prompt_cache_miss_tokens": 30,
}


def test_the_sum_counts_every_figure_of_every_round() -> None:
    assert shown_usage([CACHED, CACHED], "sum") == {
        "prompt_tokens": 2000,
        "completion_tokens": 20,
        "total_tokens": 2020,
        "prompt_cache_hit_tokens": 1800,
        "prompt_cache_miss_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 1800},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }


def test_last_is_the_last_rounds_input_with_the_output_of_all() -> None:
    assert shown_usage([CACHED, CACHED, LAST], "last") == {
        **LAST,
        "completion_tokens": 30,
        "completion_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 1060,
    }
