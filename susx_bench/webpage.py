"""Put a page together: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files


def assembled(
    package: str, scripts: Sequence[str], data: str, *, title: str = "", beside: bool = False
) -> bytes:
    """The page of a package, with its style, its script and its data inside.

    The package has ``page.html`` and ``page.css``. The page's policy allows this style, this script
    and the images beside it, over HTTP (``'self'``) and on a disk (``file:``).

    Args:
        package: The package.
        scripts: Files of its script, in their order.
        data: HTML elements with the data.
        title: The page's title, if its HTML has a place for one.
        beside: Whether the page also loads scripts that lie beside it.
    """
    folder = files(package)
    markup, style, *parts = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *scripts)
    )
    script = "\n".join(parts)
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}" + (" 'self' file:" if beside else ""),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    # The data are inserted last, so that no placeholder is searched for or replaced within them.
    head, tail = markup.split("@DATA@")
    head = head.replace("@POLICY@", policy).replace("@STYLE@", style)
    head = head.replace("@TITLE@", html.escape(title))
    return "".join([head, data, tail.replace("@SCRIPT@", script)]).encode()


def _source(text: str) -> str:
    """The policy's source for one inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
