"""``python -m train``."""

import sys

from edgeward.train.cli import main

if __name__ == "__main__":
    sys.exit(main())
