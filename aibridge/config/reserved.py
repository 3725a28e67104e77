"""First words of paths that mean a route; an upstream of that name could not be told from it."""

OPENAI_ROUTES = frozenset(
    {
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "messages",
        "moderations",
        "organization",
        "rerank",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)
"""Of OpenAI-compatible APIs, which users also ask for without `/v1`."""
OWN_ROUTES = frozenset({"api", "healthz", "mcp", "metrics", "models", "readyz", "tools", "v1"})
"""Of aibridge itself."""


def free_word(name: str) -> str:
    """`name`, which begins no route. Raises ValueError."""
    if name in OPENAI_ROUTES | OWN_ROUTES:
        raise ValueError(f"/{name} is a route, which /{{upstream}}/v1 would hide; give it another name")
    return name
