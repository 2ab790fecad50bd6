"""Keys and addresses that a server sends back, in whatever form: none is shown or kept."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from susx_bench.prompts.secrets import Secrets
from tests.conftest import Command

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

KEY = "sk-Very+Secret/0123456789"
USER, PASSWORD, TOKEN = "marguerite", "pa55:w@rd!", "tok3n-in-the-path"


def login() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Echo(BaseHTTPRequestHandler):
    """Answers with every header and the path, where and as `say` puts them."""

    say: Callable[[str], tuple[int, dict[str, Any]]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = type(self).say(f"{self.path} {dict(self.headers)}")
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in self.headers.items():
            self.send_header(f"X-Echo-{name}", value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone: it had read enough."""


@pytest.fixture
def url() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    who = f"{quote(USER)}:{quote(PASSWORD, safe='')}"
    yield f"http://{who}@127.0.0.1:{server.server_port}/{TOKEN}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def error(said: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": said}}


def answer(said: str, model: str = "echo") -> tuple[int, dict[str, Any]]:
    choices = [{"message": {"content": said, "reasoning_content": said}}] * 2
    return 200, {"model": model, "choices": choices}


FORMS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "cut": lambda said: said[: len(said) // 2],
    "encoded": lambda said: base64.b64encode(said.encode()).decode(),
    "hex": lambda said: said.encode().hex(" "),
    "percent": lambda said: quote(quote(said, safe="")),
    "reversed": lambda said: said[::-1],
    "spaced": lambda said: " ".join(said),
    "upper": str.upper,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [400, 404, 401, 403, 422, 500, 200, 201])
def test_a_server_that_sends_back_every_header(
    url: str,
    form: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Command,
) -> None:
    for name in ("zebra", "ant"):
        (tmp_path / "toy" / name).mkdir(parents=True)
        (tmp_path / "toy" / name / "1.png").touch()
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("susx_bench.prompts.endpoint.TRIES", 1)
    write = FORMS[form]
    echoes: dict[int, Callable[[str], tuple[int, dict[str, Any]]]] = {
        200: lambda said: answer(write(said)),
        201: lambda said: answer("Fine.", model=write(said)),
    }
    echo = echoes.get(status, lambda said: error(write(said), status))
    monkeypatch.setattr(Echo, "say", staticmethod(echo), raising=False)

    out = tmp_path / "out"
    done = command(
        *("prompts", "build", "--dataset", tmp_path / "toy", "--model", "echo", "--out", out),
        *("--question", "What is a {}?", "--answers", 1),
    )

    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    kept = "".join(path.read_text() for path in out.iterdir()) if out.exists() else ""
    for text in (done.out, done.err, kept):
        assert not Secrets(url, KEY).are_in(text.replace(str(tmp_path), ""))
        for part in (KEY[3:9], USER, PASSWORD[:6], login()[:8], TOKEN[:9], "127.0.0.1"):
            assert part.casefold() not in text.casefold()
            assert part.casefold() not in text[::-1].casefold()


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("secret", [KEY, PASSWORD, f"{USER}:{PASSWORD}", TOKEN, "10.0.0.17:8080"])
def test_a_secret_is_found_wherever_it_stands_in_what_is_encoded(secret: str, shift: int) -> None:
    secrets = Secrets(f"http://{USER}:{quote(PASSWORD, safe='')}@10.0.0.17:8080/{TOKEN}/v1", KEY)
    text = "x" * shift + secret + "y"

    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert secrets.are_in(f"no, {encode(text.encode()).decode()}")
    assert secrets.are_in(text.encode().hex())
    assert secrets.are_in(text)


def test_a_word_that_is_no_secret_may_be_said() -> None:
    secrets = Secrets("http://localhost:11434/v1", "x")

    assert not secrets.are_in("the model needs more memory; see https://example.org/v1/chat")
    assert secrets.are_in("key x is wrong")
    assert secrets.are_in("no route to LOCALHOST")
