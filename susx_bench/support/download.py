"""Many images from the web, a few at a time and in order, from public addresses only.

URLs and answers are untrusted. The defences: a connection goes only to an address that was checked
to be public, after every redirect and resolution of a name; bodies have a largest size and URLs a
deadline; nothing is decompressed; and only content that decodes as an image is returned.

httpcore is used without httpx's client on top: its network backend can be replaced, and it reads no
proxy from the environment. A proxy would resolve names itself, and connect to unchecked addresses.
"""

from __future__ import annotations

import asyncio
import atexit
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import TracebackType
from typing import Final, NamedTuple, Self

import anyio
import anyio.from_thread
import httpcore2
from httpx2 import URL, InvalidURL
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from susx_bench.data.decode import BadImageError, decode

_AHEAD: Final = 4
"""URLs in progress or waiting, per worker. Results keep their order: a slow URL delays others."""
_PAUSE: Final = 0.5
"""Seconds before the first retry; doubled for every further one."""
_HEADERS: Final = (
    (b"User-Agent", b"susx-bench"),
    (b"Accept", b"image/*"),
    (b"Accept-Encoding", b"identity"),
)
_REDIRECTS: Final = {301, 302, 303, 307, 308}
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


class Fate(StrEnum):
    """The outcome of a URL."""

    FETCHED = "fetched"
    NOT_FOUND = "not found"  # any other answer that is no success and not worth a retry
    SERVER_ERROR = "server error"  # 429 or 5xx, to the last try
    TIMED_OUT = "timed out"
    TOO_LARGE = "too large"
    NOT_AN_IMAGE = "not an image"  # including bodies that are compressed without request
    PRIVATE_ADDRESS = "private address"
    BAD_URL = "bad url"
    UNREACHABLE = "unreachable"  # no such name, refused, TLS, broken off
    TOO_MANY_REDIRECTS = "too many redirects"


@dataclass(frozen=True)
class Limits:
    """Limits of downloads.

    Attributes:
        max_bytes: Largest body.
        seconds: Time for one URL, with all its redirects, attempts and pauses.
        tries: Attempts in all if a server is overloaded or a connection fails, > 0.
        redirects: Redirects to follow in one attempt, >= 0.
        workers: Simultaneous connections, > 0. Up to ``4 * workers`` bodies are in memory.
    """

    max_bytes: int = 20 * 2**20
    seconds: float = 20.0
    tries: int = 3
    redirects: int = 5
    workers: int = 16


class Fetched(NamedTuple):
    """A URL, and its content if it was an image."""

    url: str
    content: bytes | None
    fate: Fate


def fetch(
    urls: Sequence[str], limits: Limits, advance: Callable[[], object]
) -> Generator[Fetched, None, None]:
    """Fetch images, many at a time.

    A few images are fetched ahead. Closing the iterator, or Ctrl-C, cancels open downloads.

    Args:
        urls: Their URLs.
        limits: The limits.
        advance: Called once per URL.

    Yields:
        One result per URL, in their order.
    """
    ahead: deque[tuple[str, Future[bytes | Fate]]] = deque()

    def cancel() -> None:
        for _, future in ahead:
            future.cancel()

    with ExitStack() as stack:
        # An error of the caller's keeps this generator in its traceback, unclosed, and the
        # interpreter could not end while threads wait for more work from it.
        atexit.register(stack.close)
        stack.callback(atexit.unregister, stack.close)
        portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
        getter = stack.enter_context(portal.wrap_async_context_manager(_Getter(limits)))
        stack.callback(cancel)

        def first() -> Fetched:
            url, future = ahead.popleft()
            content = future.result()
            advance()
            return _judged(url, content)

        for url in urls:
            if len(ahead) == _AHEAD * limits.workers:
                yield first()
            ahead.append((url, portal.start_task_soon(getter.get, url)))
        while ahead:
            yield first()


def _judged(url: str, content: bytes | Fate) -> Fetched:
    # The first bytes and the declared type may be wrong; only the decoder counts. It runs here, on
    # one image at a time: a small file may need half a gigabyte of pixels.
    if isinstance(content, Fate):
        return Fetched(url, None, content)
    try:
        decode(content)
    except BadImageError:
        return Fetched(url, None, Fate.NOT_AN_IMAGE)
    return Fetched(url, content, Fate.FETCHED)


class _Failure(Exception):
    """A URL that failed."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(fate)
        self.fate = fate


class _Getter:
    """A pool of connections for all URLs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turn = anyio.Semaphore(limits.workers)
        self._resolvers = ThreadPoolExecutor(limits.workers)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=certificates(),
            max_connections=limits.workers,
            network_backend=_PublicNetwork(self._resolvers),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool.aclose()
        self._resolvers.shutdown(wait=False)  # resolving a name has only the system's timeout

    async def get(self, url: str) -> bytes | Fate:
        """The body of a URL, or the reason of its failure."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(self._limits.tries),
            wait=wait_exponential(multiplier=_PAUSE),
            reraise=True,
        )
        async with self._turn:
            try:
                # A read timeout restarts with every byte; this one does not.
                with anyio.fail_after(self._limits.seconds):
                    return await retrying(self._try, url)
            except _Failure as failure:
                return failure.fate
            except (TimeoutError, httpcore2.TimeoutException):
                return Fate.TIMED_OUT
            except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
                return Fate.UNREACHABLE

    async def _try(self, text: str) -> bytes:
        patience = self._limits.seconds / self._limits.tries
        timeout = {"connect": patience, "read": patience, "write": patience}
        url = _target(URL(), text)
        for _ in range(self._limits.redirects + 1):
            place = httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            )
            headers = [(b"Host", url.netloc), *_HEADERS]
            async with self._pool.stream(
                "GET", place, headers=headers, extensions={"timeout": timeout}
            ) as response:
                answer_headers = {name.lower(): value for name, value in response.headers}
                if response.status not in _REDIRECTS or b"location" not in answer_headers:
                    return await self._body(response, int(answer_headers.get(b"content-length", 0)))
            url = _target(url, answer_headers[b"location"].decode(errors="replace"))
        raise _Failure(Fate.TOO_MANY_REDIRECTS)

    async def _body(self, response: httpcore2.Response, length: int) -> bytes:
        if response.status == 429 or response.status >= 500:
            raise _Failure(Fate.SERVER_ERROR)
        if not 200 <= response.status < 300:
            raise _Failure(Fate.NOT_FOUND)
        if length > self._limits.max_bytes:
            raise _Failure(Fate.TOO_LARGE)
        body = bytearray()
        async for part in response.aiter_stream():
            body += part
            if len(body) > self._limits.max_bytes:
                raise _Failure(Fate.TOO_LARGE)
        return bytes(body)


@cache
def certificates() -> ssl.SSLContext:
    """The trusted TLS certificates, cached: reading them takes longer than many downloads."""
    return httpcore2.default_ssl_context()


class _PublicNetwork(httpcore2.AnyIOBackend):
    """Opens connections to public addresses only.

    It connects to the very address that was checked, as a second resolution of the name could give
    another one. TLS and the ``Host`` header still use the name.

    Args:
        resolvers: Threads that resolve names, which blocks.
    """

    def __init__(self, resolvers: Executor) -> None:
        self._resolvers = resolvers

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            loop = asyncio.get_running_loop()
            addresses = await loop.run_in_executor(self._resolvers, _resolve, host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: not a valid name
            raise httpcore2.ConnectError(error) from error
        public = [address for address in addresses if _is_public(address)]
        if not public:
            raise _Failure(Fate.PRIVATE_ADDRESS)
        for address in public[:-1]:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await super().connect_tcp(address, port, timeout)
        return await super().connect_tcp(public[-1], port, timeout)


def _resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, best first; an address, in any spelling, gives itself."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in addresses]


def _is_public(address: str) -> bool:
    """Whether an address belongs to one host on the public internet, and embeds no other one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # Outside lie those that carry an IPv4 address (mapped, NAT64); inside, 6to4 does.
        return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None
    return ip.is_global and not ip.is_multicast


def _target(base: URL, text: str) -> URL:
    """The absolute URL of a URL or of a redirect."""
    try:
        url = base.join(text)
    except (InvalidURL, ValueError) as error:
        raise _Failure(Fate.BAD_URL) from error
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) >= 2**16:
        raise _Failure(Fate.BAD_URL)
    return url


def _may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed."""
    if isinstance(error, _Failure):
        return error.fate is Fate.SERVER_ERROR
    broken = httpcore2.ReadError, httpcore2.WriteError, httpcore2.RemoteProtocolError
    return isinstance(error, (httpcore2.TimeoutException, *broken))
