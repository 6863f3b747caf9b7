"""owngil's own exceptions, but for BrokenPoolError, whose base class workers would have to import."""

__all__ = ["ChannelClosed", "IsolationError", "RemoteError", "RemoteTraceback"]


class RemoteTraceback(Exception):
    """The traceback of a task's exception, as text from its worker.

    It is the ``__cause__`` of the exception that arrives at the caller, so that Python shows it above the caller's
    own traceback.

    Parameters
    ----------
    text : str
        The worker's name, the call with its arguments, shortened, and what ``traceback.format_exception`` gave there.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text.rstrip()}"


class RemoteError(RuntimeError):
    """Stands for an exception that cannot travel from its worker.

    Raised at the caller when a task's exception cannot be pickled in the worker, or not be rebuilt at the caller.

    Attributes
    ----------
    type_name : str
        The exception's class, with its module.
    """

    def __init__(self, type_name: str, message: str, reason: str) -> None:
        super().__init__(type_name, message, reason)
        self.type_name = type_name
        self.message = message
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message} (the exception itself cannot leave its worker: {self.reason})"


class ChannelClosed(Exception):
    """The channel is closed, and for a receiver also empty."""


class IsolationError(ImportError):
    """An extension module cannot be loaded in a worker; the message says why, and what to do.

    It is an ImportError, so that packages which can do without an optional one go on without it.
    """
