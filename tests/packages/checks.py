"""One check for each distribution: `CHECKS` maps its name on PyPI to a function without arguments.

A check uses the compiled code of its package. It returns plain values, bytes or NumPy arrays that are the same in every
run and every interpreter; it rounds floats that a library may sum in another order. Several workers and threads of one
process run a check at the same time, so a check uses no fixed port or file name, no chdir and no global random state.
These modules import only the standard library, because a worker finds a check by its module and name.
"""

import checks_arrays  # noqa: F401 - importing a module of checks registers them
import checks_bytes  # noqa: F401
import checks_formats  # noqa: F401
import checks_images  # noqa: F401
import checks_learning  # noqa: F401
import checks_network  # noqa: F401
import checks_objects  # noqa: F401
import checks_science  # noqa: F401
import checks_storage  # noqa: F401
import checks_tables  # noqa: F401
from checks_registry import CHECKS

__all__ = ["CHECKS"]
