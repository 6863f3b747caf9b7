"""What multiprocessing in workers shares with that of the main interpreter. Workers use `_core.call_in_main`."""

__all__ = ["authkey", "tracker_descriptor"]


def authkey() -> bytes:
    """Return the key with which processes of this program know each other."""
    from multiprocessing.process import current_process

    return bytes(current_process().authkey)


def tracker_descriptor() -> bytes:
    """Return the number of the resource tracker's pipe; start the tracker if it does not run."""
    from multiprocessing.resource_tracker import getfd

    return str(getfd()).encode()
