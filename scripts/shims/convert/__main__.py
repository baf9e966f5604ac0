"""``python -m convert``."""

import sys

from edgeward.convert.cli import main

if __name__ == "__main__":
    sys.exit(main())
