"""Errors carry their disposition: the code that raises knows whether trying again can help."""


class KinstreamError(Exception):
    """Base of every error that Kinstream raises on purpose."""


class RetryableError(KinstreamError):
    """The same input may succeed later: a dependency is away, busy or in conflict."""


class PermanentError(KinstreamError):
    """The same input fails every time. The text is the reason that a person reads."""
