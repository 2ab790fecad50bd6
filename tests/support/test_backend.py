"""A retrieval backend on loopback, in good health and in bad."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from susx_bench.errors import RetrievalError
from susx_bench.support import backend
from susx_bench.support.backend import Backend, Hit
from susx_bench.support.download import Fate, Limits, fetch
from tests.support.site import Handler, Route, Site, first, hangs, moved, says, says_json

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

# As `clip-retrieval back` sends it, columns of the metadata first.
HIT: dict[str, Any] = {
    "url": "http://example.com/1.jpg",
    "caption": "a cat",
    "NSFW": "UNLIKELY",
    "id": 1,
    "similarity": 0.3,
}


@pytest.fixture(autouse=True)
def _no_pause_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        site.routes["/indices-list"] = says_json(["laion", "mine"])
        site.routes["/knn-service"] = says_json([HIT])
        yield site


def opened(site: Site, suffix: str = "", index: str = "laion", timeout: float = 20) -> Backend:
    return Backend(site.url(suffix, "127.0.0.1"), index, timeout)


def refusal(site: Site, **how: Any) -> str:
    """The one line that a query ends with."""
    with pytest.raises(RetrievalError) as caught:
        opened(site, **how).query("a cat", 5)
    line = str(caught.value)
    assert "\n" not in line
    assert f"http://127.0.0.1:{site.port}" in line
    return line


@pytest.mark.parametrize("suffix", ["", "/", "/knn-service"])
def test_a_question_in_the_backends_own_words(site: Site, suffix: str) -> None:
    """The keys that `clip-retrieval`'s client sends, for its neighbours in the image index."""
    hits = opened(site, suffix).query("a photo of a cat", 5)

    assert hits == [Hit("http://example.com/1.jpg", "a cat", 0.3, 1)]
    assert site.seen == ["/indices-list", "/knn-service"]
    assert json.loads(site.body) == {
        "text": "a photo of a cat",
        "image": None,
        "image_url": None,
        "embedding_input": None,
        "deduplicate": True,
        "use_safety_model": True,
        "use_violence_detector": True,
        "indice_name": "laion",
        "use_mclip": False,
        "aesthetic_score": "",
        "aesthetic_weight": 0.5,
        "modality": "image",
        "num_images": 5,
        "num_result_ids": 5,
    }


def test_a_backend_below_a_path(site: Site) -> None:
    site.routes = {f"/clip{path}": route for path, route in site.routes.items()}

    assert len(opened(site, "/clip/").query("a cat", 5)) == 1


def test_hits_come_most_similar_first_and_equal_ones_by_id(site: Site) -> None:
    expected = [(0.9, 4), (0.5, 2), (0.5, 3), (0.5, 10), (1e-3, 1), (0, 0), (-0.25, 5)]
    rows = [HIT | {"similarity": similarity, "id": id} for similarity, id in expected]
    random.Random(0).shuffle(rows)
    site.routes["/knn-service"] = says_json(rows)

    hits = opened(site).query("a cat", 7)

    assert [(hit.similarity, hit.id) for hit in hits] == expected


def test_hits_without_a_url_are_named_by_their_id(site: Site) -> None:
    """An index of a folder has base64 images in their place."""
    bare = {"id": 2, "similarity": 0.4}
    site.routes["/knn-service"] = says_json(
        [HIT, bare | {"image": "AAAA"}, bare | {"id": 3, "url": None}, bare | {"id": 4, "url": ""}]
    )

    urls = [hit.url for hit in opened(site).query("a cat", 5)]

    assert sorted(urls) == [HIT["url"], "id:2", "id:3", "id:4"]
    (fetched,) = fetch(["id:2"], Limits(), lambda: None)
    assert fetched.fate is Fate.BAD_URL


def test_a_missing_caption_is_an_empty_one(site: Site) -> None:
    without = {key: value for key, value in HIT.items() if key != "caption"}
    site.routes["/knn-service"] = says_json([without, HIT | {"caption": None}])

    assert [hit.caption for hit in opened(site).query("a cat", 5)] == ["", ""]


def test_no_hits_at_all(site: Site) -> None:
    site.routes["/knn-service"] = says_json([])

    assert opened(site).query("a cat", 5) == []


def test_an_unknown_index(site: Site) -> None:
    """Asked for it, the backend would answer 500."""
    assert refusal(site, index="laion5B").endswith("has no index 'laion5B'. It has: laion, mine.")
    assert site.seen == ["/indices-list"]


def cut(handler: Handler) -> None:
    handler.close_connection = True
    handler.head(200, {"Content_Length": "1000"})
    handler.wfile.write(b"[")


@pytest.mark.parametrize(
    "route", [says(b"", 500), says(b"", 503), says(b"", 429), cut], ids=["500", "503", "429", "cut"]
)
@pytest.mark.parametrize("path", ["/indices-list", "/knn-service"])
def test_trouble_that_passes(site: Site, path: str, route: Route) -> None:
    site.routes[path] = first(route, route, site.routes[path])

    assert len(opened(site).query("a cat", 5)) == 1
    assert site.seen.count(path) == 3


@pytest.mark.parametrize(
    ("route", "said", "asked"),
    [
        (says(b"", 500), "answered 500 Internal Server Error", 3),
        (says(b"", 429), "answered 429 Too Many Requests", 3),
        (says(b"", 404), "answered 404 Not Found", 1),
        (moved("http://127.0.0.1/"), "answered 302 Found", 1),
        (cut, "does not answer", 3),
    ],
    ids=["500", "429", "404", "302", "cut"],
)
def test_trouble_that_does_not_pass(site: Site, route: Route, said: str, asked: int) -> None:
    site.routes["/knn-service"] = route

    assert said in refusal(site)
    assert site.seen.count("/knn-service") == asked


def test_a_backend_that_hangs(site: Site) -> None:
    site.routes["/knn-service"] = hangs

    assert "does not answer: timed out" in refusal(site, timeout=0.2)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(RetrievalError, match=r"does not answer: .*refused.* Is `clip-retrieval b"):
        Backend(f"http://127.0.0.1:{port}", "laion", 5)


@pytest.mark.parametrize("url", ["localhost:1234", "ftp://localhost", "", "http://[::1"])
def test_what_is_no_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again either."""
    request, tried = backend._request, []

    def counted(*how: Any) -> Any:
        tried.append(how)
        return request(*how)

    monkeypatch.setattr(backend, "_request", counted)

    with pytest.raises(RetrievalError, match="does not answer"):
        Backend(url, "laion", 5)
    assert len(tried) == 1


def test_a_page_in_place_of_an_answer(site: Site) -> None:
    site.routes["/indices-list"] = says(b"<!doctype html><title>It works!</title>")

    assert "the answer: Invalid JSON" in refusal(site)


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ({"message": "Internal Server Error"}, "the answer"),
        (None, "the answer"),
        ([HIT, {"url": "http://a", "similarity": 0.1}], "1.id"),
        ([HIT | {"id": "1"}], "0.id"),
        ([HIT | {"id": 1.5}], "0.id"),
        ([{"url": "http://a", "id": 1}], "0.similarity"),
        ([HIT | {"similarity": "0.3"}], "0.similarity"),
        ([HIT | {"similarity": None}], "0.similarity"),
        ([HIT, HIT | {"similarity": float("nan")}], "1.similarity"),
        ([HIT | {"similarity": float("inf")}], "0.similarity"),
        ([HIT | {"url": 7}], "0.url"),
        ([HIT | {"caption": ["a cat"]}], "0.caption"),
        ([17], "0"),
    ],
)
def test_an_answer_of_another_shape(site: Site, answer: object, key: str) -> None:
    site.routes["/knn-service"] = says_json(answer)

    assert f"/knn-service: {key}: Input should be" in refusal(site) or (
        f"/knn-service: {key}: Field required" in refusal(site)
    )


def test_a_list_of_indices_of_another_shape(site: Site) -> None:
    site.routes["/indices-list"] = says_json({"laion": 1})

    assert "/indices-list: the answer: Input should be a valid array" in refusal(site)
