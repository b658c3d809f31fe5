"""``python -m geofsrcnn``: the command line."""

from __future__ import annotations

from geofsrcnn.cli.main import main

if __name__ == "__main__":
    main()
