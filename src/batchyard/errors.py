"""Every error Batchyard raises on purpose.

BatchyardError
├── InvalidRequest        the caller sent something wrong; names each fault
├── NotFound              no such thing, or another team's
├── Conflict              the thing is in a state that forbids this
├── Forbidden             who asks may not do this
├── LimitReached          come back later
├── ConfigError           the installation is set up wrong; says what to do
├── ProviderError         a provider refused or broke
└── StoreError            the database broke a promise we rely on
    └── ContentMissing    what was kept in a directory or bucket is there no more
"""

from collections.abc import Mapping, Sequence


class BatchyardError(Exception):
    """Something went wrong in Batchyard."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__ or type(self).__name__)

    @property
    def message(self) -> str:
        """The sentence shown to the caller."""
        return str(self.args[0])


class InvalidRequest(BatchyardError):
    """The request is not valid."""

    def __init__(
        self,
        message: str | None = None,
        *,
        faults: Mapping[str, Sequence[str]] | None = None,
        code: str = "invalid",
    ) -> None:
        super().__init__(message)
        self.faults: dict[str, list[str]] = {k: list(v) for k, v in (faults or {}).items()}
        self.code = code


class NotFound(BatchyardError):
    """There is no such resource."""


class Conflict(BatchyardError):
    """The resource is in a state that does not allow this."""

    def __init__(self, message: str | None = None, *, state: str | None = None) -> None:
        super().__init__(message)
        self.state = state


class Forbidden(BatchyardError):
    """This is not allowed."""


class LimitReached(BatchyardError):
    """A limit is reached; try again later."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ConfigError(BatchyardError):
    """The installation is not set up correctly."""


class ProviderError(BatchyardError):
    """A provider could not do its work."""

    def __init__(
        self,
        message: str | None = None,
        *,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds


class StoreError(BatchyardError):
    """The database did not behave as expected."""


class ContentMissing(StoreError):
    """A content that was kept outside the database is gone, though its place can be reached."""
