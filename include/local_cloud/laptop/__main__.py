"""``python -m local_cloud.laptop``: see ``cli``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from local_cloud.laptop.cli import main  # half a second of imports, in which Ctrl-C must be quiet as well

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
