"""What this process measures of itself, told at `/metrics`."""

from functools import cache

from prometheus_client import Counter, Histogram

TURN_SECONDS = Histogram(
    "batchyard_turn_seconds",
    "How long a team was served in one turn.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20),
)
ADMISSION_WAITS = Counter(
    "batchyard_admission_waits",
    "Batches that began to wait, by reason.",
    ["reason"],
)
PROVIDER_SECONDS = Histogram(
    "batchyard_provider_seconds",
    "How long a provider took to answer a request.",
    ["provider"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
PROVIDER_ANSWERS = Counter(
    "batchyard_provider_answers",
    "Answers of providers by what they mean; `lost` and `refused` are the faults.",
    ["provider", "answer"],
)
JOURNAL_FLUSH_SIZE = Histogram(
    "batchyard_journal_flush_size",
    "How many intents or outcomes one flush of the journal wrote.",
    ["kind"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
)


@cache
def provider_seconds(provider: str) -> Histogram:
    """Return the one histogram of a provider; looking it up by label takes longer than counting."""
    return PROVIDER_SECONDS.labels(provider=provider)


@cache
def provider_answers(provider: str, answer: str) -> Counter:
    """Return the one counter of a provider's answers of one kind."""
    return PROVIDER_ANSWERS.labels(provider=provider, answer=answer)
