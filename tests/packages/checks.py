"""One check a distribution: `CHECKS` maps its name on PyPI to a function that takes no argument.

A check uses the compiled code of its package and returns plain values, bytes or NumPy arrays, which are the same in
every run and every interpreter; floats that a library may sum in another order are rounded. Several workers and threads
of one process run the same check at the same time: so no fixed port or file name, no chdir, no use of global random
state. The modules import only the standard library, as a worker looks a check up by its module and name.
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
