"""Links from pages to files of the project that are no pages lead to the repository: a hook of MkDocs."""

from __future__ import annotations

import posixpath
import re
from typing import Any

REPOSITORY = "https://github.com/geofsrcnn/geofsrcnn/blob/main/"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Write the address of the repository into relative links that leave docs/."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def outward(found: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(folder, found[1]))
        return found[0] if place.startswith("docs/") else f"]({REPOSITORY}{place}"

    return re.sub(r"\]\((\.\./[^)#\s]*)", outward, markdown)
