"""Downloads from servers that mean no good, all of them on loopback."""

from __future__ import annotations

import gzip
import ipaddress
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from susx_bench.support import download
from susx_bench.support.download import Fate, Fetched, Limits, fetch
from tests.data.made import plain
from tests.support.site import Handler, Route, Site, first, hangs, moved, says

pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])

NAMES = {
    "a.test": ["127.0.0.1"],
    "b.test": ["127.0.0.1"],
    "inside.test": ["10.0.0.1"],
    "both.test": ["10.0.0.1", "127.0.0.1", "fc00::1"],
    "two.test": ["127.0.0.2", "127.0.0.1"],  # the server is not at the first one
}
PICTURE = plain(7)
LIMITS = Limits(max_bytes=100_000, seconds=30, workers=3)

_real_is_public = download._is_public
_real_resolve = download._resolve


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 and 127.0.0.2 are public, some names lead there, and tries follow at once."""

    def resolve(host: str, port: int) -> list[str]:
        if host.endswith(".test"):
            if host not in NAMES:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return NAMES[host]
        return _real_resolve(host, port)

    def is_public(address: str) -> bool:
        return address in ("127.0.0.1", "127.0.0.2") or _real_is_public(address)

    monkeypatch.setattr(download, "_resolve", resolve)
    monkeypatch.setattr(download, "_is_public", is_public)
    monkeypatch.setattr(download, "_PAUSE", 0)


def got(*urls: str, limits: Limits = LIMITS) -> list[Fetched]:
    return list(fetch(urls, limits, lambda: None))


def fate(url: str, limits: Limits = LIMITS) -> Fate:
    (one,) = got(url, limits=limits)
    assert one.url == url
    assert (one.content is not None) == (one.fate is Fate.FETCHED)
    return one.fate


@pytest.mark.usefixtures("public")
def test_an_image_arrives_as_it_was_sent(site: Site) -> None:
    site.routes["/cat"] = says(PICTURE, Content_Type="text/plain")

    url = site.url("/cat")

    assert got(url) == [Fetched(url, PICTURE, Fate.FETCHED)]
    assert site.headers["Host"] == f"a.test:{site.port}"
    assert site.headers["Accept-Encoding"] == "identity"


# --- addresses ---------------------------------------------------------------------------------

# Special-purpose address registries of IANA (RFC 6890 and later), without those that are
# globally reachable.
PRIVATE = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/29", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "::/128", "::1/128",
    "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32",
    "2001:2::/48", "2001:db8::/32", "2002::/16", "5f00::/16", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8",
]  # fmt: skip


@pytest.mark.parametrize("block", PRIVATE)
def test_no_special_address_is_public(block: str) -> None:
    network = ipaddress.ip_network(block)
    assert not download._is_public(str(network[0]))
    assert not download._is_public(str(network[-1]))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "100.63.255.255", "126.255.255.255", "172.32.0.0", "223.255.255.255",
        "2606:4700::1111", "2a00:1450:4001:81b::200e",
    ],
)  # fmt: skip
def test_other_addresses_are_public(address: str) -> None:
    assert download._is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001",
        "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "LocalHost",
        "a.test@127.0.0.1",
    ],
)  # fmt: skip
def test_no_spelling_leads_inside(site: Site, host: str, request: pytest.FixtureRequest) -> None:
    """The real check and the real resolver; the server is there, as the last line shows."""
    site.routes["/secret"] = says(PICTURE)

    assert fate(site.url("/secret", host)) is Fate.PRIVATE_ADDRESS
    assert site.connections == 0

    request.getfixturevalue("public")
    assert fate(site.url("/secret")) is Fate.FETCHED


@pytest.mark.parametrize(
    "host",
    [
        "localhost.", "127.0.0.1.", "0177.0.0.1", "１２７.0.0.1", "127。0。0。1", "ⓛocalhost",
        "[fe80::1%25lo]",
    ],
)  # fmt: skip
def test_what_may_be_no_name_at_all_does_not_lead_inside_either(site: Site, host: str) -> None:
    """Whether these are names, resolvers differ."""
    site.routes["/secret"] = says(PICTURE)

    refused = {Fate.PRIVATE_ADDRESS, Fate.UNREACHABLE, Fate.BAD_URL}
    assert fate(site.url("/secret", host)) in refused
    assert site.connections == 0


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("host", ["10.0.0.1", "inside.test", "169.254.169.254", "[fc00::1]"])
def test_a_redirect_leads_nowhere_private(site: Site, host: str) -> None:
    site.routes["/hop"] = moved(f"http://{host}/")

    assert fate(site.url("/hop")) is Fate.PRIVATE_ADDRESS
    assert site.seen == ["/hop"]


@pytest.mark.usefixtures("public")
def test_of_several_addresses_only_the_public_ones_are_tried(site: Site) -> None:
    """pytest-socket refuses the others with an error of its own."""
    site.routes["/cat"] = says(PICTURE)

    assert fate(site.url("/cat", "both.test")) is Fate.FETCHED
    assert fate(site.url("/cat", "two.test")) is Fate.FETCHED


@pytest.mark.usefixtures("public")
def test_a_name_is_resolved_once_for_a_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that changes its mind after the check finds nobody asking."""
    site.routes["/cat"] = says(PICTURE, Connection="close")
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    monkeypatch.setattr(download, "_resolve", lambda host, port: answers.pop(0))

    assert fate(site.url("/cat")) is Fate.FETCHED
    assert answers == [["10.0.0.1"]]
    assert fate(site.url("/cat")) is Fate.PRIVATE_ADDRESS


@pytest.mark.usefixtures("public")
def test_tls_goes_by_the_name() -> None:
    """The name is legible in the first bytes a client sends (SNI)."""
    hello: list[bytes] = []

    def listen() -> None:
        connection, _ = server.accept()
        with connection:
            hello.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen)
        thread.start()
        assert fate(f"https://a.test:{server.getsockname()[1]}/") is Fate.UNREACHABLE
        thread.join()

    assert b"a.test" in hello[0]


@pytest.mark.usefixtures("public")
def test_proxies_of_the_environment_are_not_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        site.routes["/cat"] = says(PICTURE)

        assert fate(site.url("/cat")) is Fate.FETCHED
        assert proxy.connections == 0


# --- answers -----------------------------------------------------------------------------------


def too_long(handler: Handler) -> None:
    handler.head(200, {"Content_Length": str(5 * 2**30)})
    handler.site.over.wait()


def endless(handler: Handler) -> None:
    """64 MB would be all, so that a client without a limit comes to an end too."""
    handler.close_connection = True
    handler.head(200, {})
    for _ in range(1000):
        handler.wfile.write(bytes(2**16))
    handler.site.seen.append("the end")


def drips(content: bytes) -> Route:
    """5 seconds in all, after which the answer is a good one."""

    def route(handler: Handler) -> None:
        handler.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PICTURE)
        slow, rest = (PICTURE, b"") if content == PICTURE else (head, PICTURE)
        if slow == PICTURE:
            handler.wfile.write(head)
        for i in range(len(slow)):
            handler.wfile.write(slow[i : i + 1])
            handler.site.over.wait(5 / len(slow))
        handler.wfile.write(rest)

    return route


def cut(handler: Handler) -> None:
    """A body that ends before it is whole."""
    handler.close_connection = True
    handler.head(200, {"Content_Length": str(len(PICTURE))})
    handler.wfile.write(PICTURE[:-10])


def silent(handler: Handler) -> None:
    handler.close_connection = True


def garbage(handler: Handler) -> None:
    handler.close_connection = True
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


def many_headers(handler: Handler) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 20_000)


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("route", "expected", "asked"),
    [
        pytest.param(says(b"gone", 404), "not found", 1, id="404"),
        pytest.param(says(b"no", 403), "not found", 1, id="403"),
        pytest.param(says(b"", 302), "not found", 1, id="redirect to nowhere"),
        pytest.param(says(PICTURE, 300), "not found", 1, id="300"),
        pytest.param(says(b"", 500), "server error", 3, id="500"),
        pytest.param(says(b"", 503), "server error", 3, id="503"),
        pytest.param(says(b"", 429), "server error", 3, id="429"),
        pytest.param(first(says(b"", 500), says(PICTURE)), "fetched", 2, id="500 then 200"),
        pytest.param(first(says(b"", 429), says(PICTURE)), "fetched", 2, id="429 then 200"),
        pytest.param(first(cut, silent, says(PICTURE)), "fetched", 3, id="cut off, then whole"),
        pytest.param(first(says(b"", 500), says(b"", 404)), "not found", 2, id="500 then 404"),
        pytest.param(cut, "unreachable", 3, id="cut off"),
        pytest.param(silent, "unreachable", 3, id="no answer"),
        pytest.param(garbage, "unreachable", 3, id="another protocol"),
        pytest.param(many_headers, "unreachable", 3, id="endless headers"),
        pytest.param(
            says(b"<!doctype html><p>moved", Content_Type="image/png"), "not an image", 1, id="html"
        ),
        pytest.param(says(PICTURE[: len(PICTURE) // 2]), "not an image", 1, id="half an image"),
        pytest.param(says(b""), "not an image", 1, id="nothing"),
        pytest.param(says(b"", 204), "not an image", 1, id="204"),
        pytest.param(too_long, "too large", 1, id="5 GB announced"),
        pytest.param(endless, "too large", 1, id="endless"),
        pytest.param(says(PICTURE + bytes(100_000)), "too large", 1, id="a little too large"),
        pytest.param(
            says(PICTURE + bytes(100_000 - len(PICTURE))), "fetched", 1, id="just small enough"
        ),
        pytest.param(moved("/"), "too many redirects", 6, id="loop"),
        pytest.param(moved("ftp://a.test/"), "bad url", 1, id="redirect to ftp"),
        pytest.param(moved("file:///etc/passwd"), "bad url", 1, id="redirect to a file"),
        pytest.param(moved("http://[::1"), "bad url", 1, id="redirect to no url"),
    ],
)  # fmt: skip
def test_what_becomes_of_an_answer(site: Site, route: Route, expected: str, asked: int) -> None:
    site.routes["/"] = route

    assert fate(site.url("/")) == expected
    assert site.seen == ["/"] * asked


@pytest.mark.usefixtures("public")
def test_an_endless_body_is_cut_off(site: Site) -> None:
    site.routes["/"] = endless

    assert fate(site.url("/")) is Fate.TOO_LARGE
    assert site.seen == ["/"]


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("content", [PICTURE, b"head"], ids=["the body", "the headers"])
def test_dripping_does_not_move_the_deadline(site: Site, content: bytes) -> None:
    site.routes["/"] = drips(content)

    assert fate(site.url("/"), Limits(seconds=1, tries=2)) is Fate.TIMED_OUT


@pytest.mark.usefixtures("public")
def test_a_server_that_hangs_is_tried_again_before_the_deadline(site: Site) -> None:
    site.routes["/never"] = hangs
    site.routes["/later"] = first(hangs, says(PICTURE))

    limits = Limits(seconds=3, tries=3)

    assert [one.fate for one in got(site.url("/never"), site.url("/later"), limits=limits)] == [
        Fate.TIMED_OUT,
        Fate.FETCHED,
    ]


@pytest.mark.usefixtures("public")
def test_a_resolver_that_hangs_does_not_move_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        over.wait(10)
        return ["127.0.0.1"]

    monkeypatch.setattr(download, "_resolve", resolve)

    assert fate("http://a.test/", Limits(seconds=0.1)) is Fate.TIMED_OUT
    over.set()


@pytest.mark.usefixtures("public")
def test_nothing_is_decompressed(site: Site) -> None:
    zeros = 100 * 2**20
    site.routes["/bomb"] = says(gzip.compress(bytes(zeros), 1), Content_Encoding="gzip")
    site.routes["/image"] = says(gzip.compress(PICTURE), Content_Encoding="gzip")

    tracemalloc.start()
    results = got(site.url("/bomb"), site.url("/image"), limits=Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [one.fate for one in results] == [Fate.NOT_AN_IMAGE, Fate.NOT_AN_IMAGE]
    assert peak < zeros / 5


@pytest.mark.usefixtures("public")
def test_an_image_of_too_many_pixels_is_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.routes["/"] = says(PICTURE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    assert fate(site.url("/")) is Fate.NOT_AN_IMAGE


@pytest.mark.usefixtures("public")
def test_redirects_are_followed_as_far_as_allowed(site: Site) -> None:
    """Relative ones, and to another host, whose name is then in the header."""
    hosts: list[str | None] = []

    def third(handler: Handler) -> None:
        hosts.append(handler.headers["Host"])
        moved(site.url("/4"), 308)(handler)

    site.routes |= {
        "/1": moved("2", 301),
        "/2": moved(f"//b.test:{site.port}/3", 307),
        "/3": third,
        "/4": moved("/schön?x=1#top".encode().decode("latin-1"), 303),  # as UTF-8
        "/sch%C3%B6n?x=1": says(PICTURE),
    }

    assert fate(site.url("/1"), Limits(redirects=4)) is Fate.FETCHED
    assert fate(site.url("/1"), Limits(redirects=3)) is Fate.TOO_MANY_REDIRECTS
    assert hosts == [f"b.test:{site.port}"] * 2


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://a.test/cat", "bad url"),
        ("file:///etc/passwd", "bad url"),
        ("data:image/png;base64,AAAA", "bad url"),
        ("a.test/cat", "bad url"),
        ("//a.test/cat", "bad url"),
        ("http://", "bad url"),
        ("http:///cat", "bad url"),
        ("http://[::1", "bad url"),
        ("http://a.test:port/", "bad url"),
        ("http://a.test:65536/", "bad url"),
        ("http://a.test/\n", "bad url"),
        ("http://a.test/\ud800", "bad url"),
        ("", "bad url"),
        ("http://nowhere.test/", "unreachable"),
        ("http://a..b/", "unreachable"),
        ("http://%s/" % ("x" * 70), "unreachable"),
    ],
)
def test_urls_that_lead_nowhere(url: str, expected: str) -> None:
    assert fate(url) == expected


@pytest.mark.usefixtures("public")
def test_nobody_there_and_no_tls_there(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert fate(f"http://a.test:{port}/") is Fate.UNREACHABLE
    assert fate(f"https://a.test:{site.port}/") is Fate.UNREACHABLE


@given(urls=st.lists(st.text() | st.text().map("http://{}".format), max_size=30))
@settings(max_examples=30, deadline=None)
def test_any_text_has_a_fate(urls: list[str]) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_resolve", resolve)
        results = got(*urls)

    assert [one.url for one in results] == urls
    assert {one.fate for one in results} <= {Fate.BAD_URL, Fate.UNREACHABLE}


# --- many at a time ----------------------------------------------------------------------------


@pytest.mark.usefixtures("public")
def test_results_come_in_order_whatever_comes_first(site: Site) -> None:
    """The first answer waits for all the others."""
    answered = threading.Semaphore(0)

    def last(handler: Handler) -> None:
        for _ in range(5):
            assert answered.acquire(timeout=10)
        handler.send(plain(0))

    def other(shade: int) -> Route:
        def route(handler: Handler) -> None:
            handler.send(plain(shade))
            answered.release()

        return route

    site.routes["/0"] = last
    site.routes |= {f"/{i}": other(i) for i in range(1, 6)}
    told: list[None] = []
    urls = [site.url(f"/{i}") for i in range(6)]

    results = list(fetch(urls, LIMITS, lambda: told.append(None)))

    assert results == [Fetched(url, plain(i), Fate.FETCHED) for i, url in enumerate(urls)]
    assert len(told) == 6


@pytest.mark.usefixtures("public")
def test_as_many_at_a_time_as_there_are_workers(site: Site) -> None:
    """Each answer waits for two more to be asked for, and counts those under way."""
    together = threading.Barrier(3)
    lock = threading.Lock()
    under_way: set[str] = set()
    most = 0

    def route(handler: Handler) -> None:
        nonlocal most
        with lock:
            under_way.add(handler.path)
            most = max(most, len(under_way))
        together.wait(10)
        with lock:
            under_way.remove(handler.path)
        handler.send(PICTURE)

    site.routes = {f"/{i}": route for i in range(12)}

    results = got(*(site.url(f"/{i}") for i in range(12)))

    assert {one.fate for one in results} == {Fate.FETCHED}
    assert most == 3


@pytest.mark.usefixtures("public")
def test_waiting_for_a_turn_does_not_count(site: Site) -> None:
    def route(handler: Handler) -> None:
        handler.site.over.wait(0.5)
        handler.send(PICTURE)

    site.routes["/"] = route

    results = got(*[site.url("/")] * 4, limits=Limits(seconds=1.6, tries=1, workers=1))

    assert [one.fate for one in results] == [Fate.FETCHED] * 4


@pytest.mark.usefixtures("public")
def test_little_is_fetched_ahead(site: Site) -> None:
    """Four for each worker; they alone are begun while the first one is looked at."""
    begun = threading.Semaphore(0)

    def route(handler: Handler) -> None:
        handler.send(PICTURE)
        begun.release()

    site.routes = {f"/{i}": route for i in range(40)}
    urls = [site.url(f"/{i}") for i in range(40)]

    with closing(fetch(urls, LIMITS, lambda: None)) as results:
        next(results)
        for _ in range(12):
            assert begun.acquire(timeout=10)

        assert set(site.seen) == {f"/{i}" for i in range(12)}
        assert len(list(results)) == 39


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("way", ["closed", "interrupted"])
def test_what_is_under_way_is_broken_off(site: Site, way: str) -> None:
    """At once: the server would wait for 10 seconds, the client for 60."""
    main = threading.get_ident()
    together = threading.Barrier(3)
    ready, done = threading.Event(), threading.Semaphore(0)
    left: list[bytes] = []

    def route(handler: Handler) -> None:
        if together.wait(10) == 0:  # one of the three
            ready.set()
            if way == "interrupted":
                signal.pthread_kill(main, signal.SIGINT)
        try:
            left.append(handler.rfile.read(1))
        except TimeoutError:
            left.append(b"still there")
        done.release()

    site.routes = {"/cat": says(PICTURE)} | {f"/{i}": route for i in range(9)}
    urls = [site.url("/cat"), *(site.url(f"/{i}") for i in range(9))]
    results = fetch(urls, Limits(seconds=60, workers=3), lambda: None)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if way == "closed":
            next(results)
            assert ready.wait(10)
            results.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                list(results)
    finally:
        signal.signal(signal.SIGINT, previous)
    for _ in range(3):
        assert done.acquire(timeout=20)

    assert left == [b"", b"", b""]
    assert len(site.seen) == 4


CRASH = """
import sys
from susx_bench.support import download

download._is_public = lambda address: True
url = f"http://127.0.0.1:{sys.argv[1]}"
urls = [f"{url}/cat"] * 3 + [f"{url}/never"] * 99

def main():
    results = download.fetch(urls, download.Limits(), lambda: None)
    for one in results:
        raise LookupError(one.fate)

main()
"""


def test_an_error_in_between_ends_the_program(site: Site) -> None:
    """Its traceback holds the downloads, which must not hold the interpreter."""
    site.routes = {"/cat": says(PICTURE), "/never": hangs}

    child = subprocess.run(
        [sys.executable, "-c", CRASH, str(site.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert child.stderr.endswith("LookupError: fetched\n")
    assert child.returncode == 1
