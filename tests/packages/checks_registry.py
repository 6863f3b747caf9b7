"""The table of checks, filled by a decorator; the files `checks_*.py` import it from here."""

CHECKS = {}


def check(distribution):
    """Register the decorated function as the check of this distribution, named as on PyPI."""

    def register(function):
        if distribution in CHECKS:
            raise ValueError(f"{distribution} has a check already")
        CHECKS[distribution] = function
        return function

    return register
