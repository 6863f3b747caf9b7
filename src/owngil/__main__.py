"""``python -m owngil`` is ``owngil``."""

import sys

from owngil.cli import main

if __name__ == "__main__":
    sys.exit(main())
