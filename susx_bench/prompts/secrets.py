"""Detect a part of a key or an address in a text, in any form that a server may send back."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

_PART = 8  # letters of a secret that reveal it
_SHORT = 4  # a secret with fewer letters is searched for as a whole word
_NO_SECRET = re.compile(r"v\d+\w*|api|openai|chat|completions|https?|")


class Secrets:
    """A key and an address, parts of which no message, log, recipe or record may contain.

    Args:
        base_url: Address of an API, possibly with a user and a password.
        key: Its key.
    """

    def __init__(self, base_url: str, key: str) -> None:
        url = urlsplit(base_url)
        user, password = url.username or "", url.password or ""
        login = f"{user}:{password}" if user or password else ""
        places = [url.hostname or "", url.netloc.rpartition("@")[2], url.query, url.fragment]
        whole = [key, f"Bearer {key}", user, password, login, *places, *url.path.split("/")]
        secrets = {unquote(part) for part in whole} | set(whole)
        secrets = {part for part in secrets if not _NO_SECRET.fullmatch(part.casefold())}
        forms = {form.casefold() for secret in secrets for form in _forms(secret)}
        self._parts = {part for form in forms for part in _parts(form)}
        self._words = {form for form in forms if len(form) < _SHORT}

    def are_in(self, text: str) -> bool:
        """Whether a text holds a part of them, plain, encoded or reversed."""
        plain = html.unescape(text).casefold()
        for read in (plain, unquote(plain)):
            letters = "".join(read.split())
            for form in (read, letters, letters[::-1]):
                if any(part in form for part in self._parts):
                    return True
            if self._words & set(re.split(r"[^\w-]+", read)):
                return True
        return False


def _forms(secret: str) -> Iterator[str]:
    """A secret, plain and in the usual encodings, within another text or alone."""
    yield secret
    yield quote(secret, safe="")
    if len(secret) < _SHORT:
        return
    content = secret.encode()
    yield content.hex()
    for shift in range(3):  # base64 depends on the position in the encoded text
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * shift + content).decode().rstrip("=")
            # The first and the last letters share bits with the neighbouring text.
            yield text[-(-8 * shift // 6) : len(text) - ((shift + len(content)) % 3 > 0)]


def _parts(form: str) -> Iterable[str]:
    if len(form) < _SHORT:
        return ()
    return {form[i : i + _PART] for i in range(max(len(form) - _PART, 0) + 1)}
