"""A small Hugging Face Hub on loopback, for clients that must not know the difference.

``with Hub() as hub`` serves the repositories given to ``hub.add``. Clients read their environment
when they are imported, so ``hub.run`` runs Python code in a process of its own that takes this hub
for the real one. A test that opens a hub needs ``pytest.mark.allow_hosts(["127.0.0.1"])``.

As on the real Hub, big files (by suffix) live elsewhere: ``resolve`` answers with a redirect to
another host, here ``localhost``. There is no Xet.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, cast
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import yaml

Kind = Literal["dataset", "model"]

LFS = {".bin", ".npz", ".parquet", ".pt", ".safetensors", ".tar", ".zip"}
"""Suffixes of the files that the Hub keeps in large file storage."""
MEMBER = "hf_member"
"""A token that may read gated repositories."""
STRANGER = "hf_stranger"
"""A token that may not."""

_DATE = "2024-01-01T00:00:00.000Z"


class Answer(NamedTuple):
    """What goes back to a client."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    path: str | None = None  # of a file's content, where a fault may strike


class Refusal(Exception):
    """An error of the Hub, which tells its kind in a header."""

    def __init__(self, status: int, code: str, message: str, commit: str = "") -> None:
        super().__init__(message)
        plain = message.encode("ascii", "replace").decode()  # as headers must be
        headers = {"X-Error-Code": code, "X-Error-Message": plain, "X-Repo-Commit": commit}
        self.answer = _json(
            {"error": message}, status, {key: value for key, value in headers.items() if value}
        )


@dataclass(frozen=True)
class File:
    """One version of a file."""

    path: str
    content: bytes

    @property
    def lfs(self) -> bool:
        return PurePosixPath(self.path).suffix in LFS

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git keeps of a big file."""
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @property
    def oid(self) -> str:
        """Git's name of the blob."""
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return f'"{self.sha256 if self.lfs else self.oid}"'


@dataclass(frozen=True)
class Commit:
    """The files of a repository at one time."""

    sha: str
    files: dict[str, File]
    parent: Commit | None

    @property
    def line(self) -> Iterable[Commit]:
        """This commit and those before it."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def folders(self) -> dict[str, str]:
        """Path and git-like name of every folder."""
        found: dict[str, list[str]] = {}
        for path, file in self.files.items():
            for parent in list(PurePosixPath(path).parents)[:-1]:
                found.setdefault(str(parent), []).append(file.oid)
        return {
            path: hashlib.sha1("".join(oids).encode()).hexdigest() for path, oids in found.items()
        }

    def entry(self, path: str, expand: bool) -> dict[str, Any] | None:
        """What the Hub tells of a file or folder."""
        entry: dict[str, Any]
        if file := self.files.get(path):
            entry = {"type": "file", "oid": file.oid, "size": len(file.content), "path": path}
            if file.lfs:
                entry["lfs"] = {
                    "oid": file.sha256,
                    "size": len(file.content),
                    "pointerSize": len(file.pointer),
                }
            if expand:
                entry["securityFileStatus"] = {
                    "status": "safe",
                    "avScan": None,
                    "pickleImportScan": None,
                }
        elif oid := self.folders().get(path):
            entry = {"type": "directory", "oid": oid, "size": 0, "path": path}
        else:
            return None
        if expand:
            same = self
            for commit in self.line:
                before = commit.entry(path, expand=False)
                if before is None or before["oid"] != entry["oid"]:
                    break
                same = commit
            entry["lastCommit"] = {"id": same.sha, "title": "Add files", "date": _DATE}
        return entry


@dataclass
class Repo:
    """A repository: its commits, and the names that point at some of them."""

    kind: Kind
    name: str
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, revision: str) -> Commit:
        """The commit that a branch, a tag, a hash or the start of a hash names."""
        sha = (self.branches | self.tags).get(revision, revision)
        found = [sha] if sha in self.commits else []
        if not found and len(revision) >= 7:
            found = [full for full in self.commits if full.startswith(revision)]
        if len(found) != 1:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[found[0]]

    def info(self, commit: Commit, blobs: bool) -> dict[str, Any]:
        """What ``dataset_info`` and ``model_info`` read."""
        siblings: list[dict[str, Any]] = []
        for path, file in sorted(commit.files.items()):
            sibling: dict[str, Any] = {"rfilename": path}
            if blobs:
                sibling |= {"size": len(file.content), "blobId": file.oid}
            if blobs and file.lfs:
                sibling["lfs"] = {
                    "sha256": file.sha256,
                    "size": len(file.content),
                    "pointerSize": len(file.pointer),
                }
            siblings.append(sibling)
        return {
            "_id": hashlib.sha1(self.name.encode()).hexdigest()[:24],
            "id": self.name,
            "author": self.name.split("/")[0],
            "sha": commit.sha,
            "createdAt": _DATE,
            "lastModified": _DATE,
            "private": False,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }


@dataclass
class Cut:
    """A fault in waiting."""

    suffix: str
    after: int
    times: int
    dies: bool


class Hub:
    """The server, its repositories and its faults.

    Attributes:
        requests: Method and path, unquoted and without the query, of everything asked so far.
        headers: The headers of those requests, with names in lower case.
        unknown: Those of the requests that this hub does not know how to answer.
        page: How many entries a tree listing gives at once.
        stored: Big files that were uploaded, by their hash.
        private: Whether a repository that a client made is private.
        messages: Those of the commits that clients made.
        before_commit: Called one by one before each commit of a client.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.unknown: list[tuple[str, str]] = []
        self.page = 1000
        self.stored: dict[str, bytes] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.before_commit: list[Callable[[], object]] = []
        self._repos: dict[tuple[Kind, str], Repo] = {}
        self._cuts: list[Cut] = []
        self._errors: list[Exception] = []
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.RLock()
        self._server: _Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, for ``HF_ENDPOINT``."""
        assert self._port, "the hub was never started"
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self._errors:
            raise self._errors[0]

    def start(self) -> None:
        """Listen; after a ``stop``, on the same port as before."""
        assert self._server is None, "the hub runs already"
        self._server = _Server(self, self._port)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and break those that are open."""
        with self._lock:
            server, self._server = self._server, None
            open_now = dict(self._connections)
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in open_now:
            _break(connection)
        for thread in open_now.values():
            if thread is not threading.current_thread():
                thread.join(10)

    def add(
        self,
        kind: Kind,
        name: str,
        files: Mapping[str, bytes],
        *,
        branch: str = "main",
        gated: bool = False,
        commit: str = "",
    ) -> str:
        """Make a commit of these files and of no others, and point the branch at it.

        Returns:
            The commit's hash: `commit`, else one that depends on the files and on the commit
            before.
        """
        with self._lock:
            repo = self._repos.setdefault((kind, name), Repo(kind, name))
            repo.gated = gated
            parent = repo.commits.get(repo.branches.get(branch, ""))
            content = {path: File(path, bytes(files[path])) for path in sorted(files)}
            told = [kind, name, parent.sha if parent else ""]
            told += [f"{path} {file.sha256}" for path, file in content.items()]
            sha = commit or hashlib.sha1("\n".join(told).encode()).hexdigest()
            repo.commits[sha] = Commit(sha, content, parent)
            repo.branches[branch] = sha
        return sha

    def tag(self, kind: Kind, name: str, tag: str, commit: str) -> None:
        """Give a commit a name."""
        repo = self._repos[kind, name]
        repo.tags[tag] = repo.commits[commit].sha

    def cut_after(self, suffix: str, count: int, times: int = 1, *, dies: bool = False) -> None:
        """Break off bodies of files.

        Args:
            suffix: End of the path, in the repository, of the files that break.
            count: Bytes of the body that are sent; one that has no more than these stays whole.
            times: How often, over all matching requests.
            dies: The whole hub stops at that point, as by ``stop``.
        """
        with self._lock:
            self._cuts.append(Cut(suffix, count, times, dies))

    def env(self, home: Path, **changes: str) -> dict[str, str]:
        """The environment of a client of this hub.

        Args:
            home: Where the client keeps its caches and tokens.
            changes: Further variables, such as ``HF_HUB_OFFLINE="1"``.
        """
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
            and not key.lower().endswith("_proxy")
        }
        ours = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return kept | ours | changes

    def run(self, code: str, home: Path, **changes: str) -> Any:
        """Run Python code as a client; ``home`` and ``changes`` as for ``env``.

        Returns:
            The JSON value in the last line that the code printed.
        """
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.env(home, **changes),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"the client failed:\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer a request; errors of this hub itself are kept for the end of the test."""
        url = urlsplit(target)
        asked = (method, unquote(url.path))
        with self._lock:
            self.requests.append(asked)
            self.headers.append(headers)
        is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        query = parse_qs(body.decode() if method == "POST" and is_form else url.query)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        try:
            if found := self._take(method, parts, headers, body):
                return found
            found = self._route("GET" if method == "HEAD" else method, parts, query, headers)
        except Refusal as refusal:
            return refusal.answer
        except Exception as error:
            self._errors.append(error)
            return _json({"error": f"this hub failed: {error!r}"}, 500)
        if found is None:
            self.unknown.append(asked)
            return _json({"error": "Sorry, we can't find the page you are looking for."}, 404)
        return found

    def _take(
        self, method: str, parts: list[str], headers: dict[str, str], body: bytes
    ) -> Answer | None:
        """Answer what changes a repository; None for another request."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        match (method, *parts):
            case ("PUT", "upload", sha):
                if token:
                    return _json({"error": "a token was sent to the storage"}, 400)
                if hashlib.sha256(body).hexdigest() != sha:
                    return _json({"error": "BadDigest"}, 400)
                self.stored[sha] = body
                return _json({})
            case ("POST", "api", "validate-yaml"):
                text = json.loads(body)["content"]
                head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
                said = yaml.safe_load(head[1]) if head else None
                warnings = [] if isinstance(said, dict) else [{"message": "empty metadata"}]
                return _json({"errors": [], "warnings": warnings})
            case ("POST", "api", "repos", "create"):
                self._may_write(token)
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                self.private[name] = bool(
                    asked.get("private", asked.get("visibility") == "private")
                )
                self.add(asked.get("type", "model"), name, {".gitattributes": b"lfs\n"})
                return _json({"url": f"{self.url}/datasets/{name}"})
            case ("POST", "api", "datasets", *rest) if "preupload" in rest:
                repo, _ = self._repo("dataset", rest, token)
                self._may_write(token)
                now = repo.commit("main").files
                told = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if File(each["path"], b"").lfs else "regular",
                        "shouldIgnore": False,
                        "oid": now[each["path"]].oid if each["path"] in now else None,
                    }
                    for each in json.loads(body)["files"]
                ]
                return _json({"files": told})
            case ("POST", "datasets", org, git, "info", "lfs", "objects", "batch"):
                self._repo("dataset", [org, git.removesuffix(".git")], token)
                self._may_write(token)
                objects: list[dict[str, Any]] = []
                for each in json.loads(body)["objects"]:
                    href = f"http://localhost:{self._port}/upload/{each['oid']}"
                    objects.append(each)
                    if each["oid"] not in self.stored:
                        objects[-1] = each | {"actions": {"upload": {"href": href}}}
                return _json({"transfer": "basic", "objects": objects})
            case ("POST", "api", "datasets", *rest) if "commit" in rest:
                repo, _ = self._repo("dataset", rest, token)
                self._may_write(token)
                return self._commit(repo, [json.loads(line) for line in body.splitlines()])
        return None

    def _may_write(self, token: str) -> None:
        if token != MEMBER:
            raise Refusal(403 if token else 401, "", "You need a token that may write.")

    def _commit(self, repo: Repo, lines: list[dict[str, Any]]) -> Answer:
        head, *changes = lines
        with self._lock:
            if self.before_commit:
                self.before_commit.pop(0)()
            now = repo.commit("main")
            if head["value"].get("parentCommit", now.sha) != now.sha:
                return _json({"error": "A commit has happened since. Please refresh."}, 412)
            files = {path: file.content for path, file in now.files.items()}
            for change in changes:
                value = change["value"]
                if change["key"] == "lfsFile":
                    files[value["path"]] = self.stored[value["oid"]]
                else:
                    assert (change["key"], value["encoding"]) == ("file", "base64")
                    files[value["path"]] = base64.b64decode(value["content"])
            sha = self.add(repo.kind, repo.name, files)
            self.messages.append(head["value"]["summary"])
        url = f"{self.url}/datasets/{repo.name}/commit/{sha}"
        return _json({"commitUrl": url, "commitOid": sha, "hookOutput": ""})

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a dataset at a commit."""
        commit = self._repos["dataset", name].commit(revision)
        return {path: file.content for path, file in commit.files.items()}

    def _route(
        self, method: str, parts: list[str], query: dict[str, list[str]], headers: dict[str, str]
    ) -> Answer | None:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        match (method, *parts):
            case ("GET", "lfs", sha, *path):
                if token:
                    return _json({"error": "a token was sent to the storage"}, 400)
                return self._stored(sha, "/".join(path), headers)
            case _ if token not in ("", MEMBER, STRANGER):
                message = "Invalid credentials in Authorization header"
                raise Refusal(401, "", message)
            case ("GET", "api", "whoami" | "whoami-v2"):
                if not token:
                    raise Refusal(401, "", "Invalid username or password.")
                return _json({"type": "user", "name": token.removeprefix("hf_"), "orgs": []})
            case ("GET", "api", "agent-harnesses"):
                return _json({"standardEnvVars": [], "harnesses": {}})
            case (_, "api", "models" | "datasets" as plural, *rest):
                repo, verb = self._repo(cast(Kind, plural.removesuffix("s")), rest, token)
                return self._api(method, repo, verb, query, token)
            case ("GET", "datasets", *rest) if "resolve" in rest:
                repo, verb = self._repo("dataset", rest, token)
                return self._resolve(repo, verb, headers, token)
            case ("GET", *rest) if "resolve" in rest:
                repo, verb = self._repo("model", rest, token)
                return self._resolve(repo, verb, headers, token)
        return None

    def _repo(self, kind: Kind, parts: list[str], token: str) -> tuple[Repo, list[str]]:
        """The repository that a path begins with, and the rest of the path."""
        for width in (2, 1):
            if repo := self._repos.get((kind, "/".join(parts[:width]))):
                return repo, parts[width:]
        raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")

    def _api(
        self, method: str, repo: Repo, verb: list[str], query: dict[str, list[str]], token: str
    ) -> Answer | None:
        expand = query.get("expand", ["false"])[0].lower() == "true"
        match (method, *verb):
            case ("GET",) | ("GET", "revision", _):
                commit = repo.commit(verb[1] if verb else "main")
                info = repo.info(commit, blobs="blobs" in query)
                if wanted := query.get("expand"):
                    info = {key: info.get(key) for key in ("_id", "id", *wanted)}
                return _json(info)
            case ("GET", "tree", revision, *path):
                recursive = query.get("recursive", ["false"])[0].lower() == "true"
                entries = _tree(repo.commit(revision), "/".join(path), recursive, expand)
                limit = int(query.get("limit", [str(self.page)])[0])
                start = int(query.get("cursor", ["0"])[0])
                headers = {}
                if len(entries) > start + limit:
                    base = f"{self.url}/api/{repo.kind}s/{repo.name}/" + "/".join(
                        quote(part, safe="") for part in verb
                    )
                    more = urlencode(query | {"cursor": [str(start + limit)]}, doseq=True)
                    headers["Link"] = f'<{base}?{more}>; rel="next"'
                return _json(entries[start : start + limit], headers=headers)
            case ("POST", "paths-info", revision):
                commit = repo.commit(revision)
                paths = (commit.entry(path, expand) for path in query.get("paths", []))
                return _json([entry for entry in paths if entry is not None])
            case ("GET", "commits", revision):
                return _json(
                    [
                        {
                            "id": commit.sha,
                            "title": "Add files",
                            "message": "",
                            "authors": [{"user": "member"}],
                            "date": _DATE,
                        }
                        for commit in repo.commit(revision).line
                    ]
                )
            case ("GET", "refs"):
                return _json(
                    {
                        "branches": _refs("heads", repo.branches),
                        "tags": _refs("tags", repo.tags),
                        "converts": [],
                        "pullRequests": [],
                    }
                )
            case ("GET", "auth-check"):
                _admit(repo, token)
                return _json("OK")
        return None

    def _resolve(
        self, repo: Repo, verb: list[str], headers: dict[str, str], token: str
    ) -> Answer | None:
        match verb:
            case ["resolve", revision, *parts]:
                _admit(repo, token)
                commit = repo.commit(revision)
                path = "/".join(parts)
                file = commit.files.get(path)
                if file is None:
                    raise Refusal(404, "EntryNotFound", "Entry not found", commit.sha)
                if not file.lfs:
                    return _content(file, {"X-Repo-Commit": commit.sha}, headers)
                location = f"http://localhost:{self._port}/lfs/{file.sha256}/{quote(path)}"
                return Answer(
                    302,
                    {
                        "Location": location,
                        "X-Repo-Commit": commit.sha,
                        "X-Linked-ETag": file.etag,
                        "X-Linked-Size": str(len(file.content)),
                    },
                    f"Found. Redirecting to {location}".encode(),
                )
        return None

    def _stored(self, sha: str, path: str, headers: dict[str, str]) -> Answer:
        for repo in self._repos.values():
            for commit in repo.commits.values():
                file = commit.files.get(path)
                if file and file.lfs and file.sha256 == sha:
                    return _content(file, {}, headers)
        return _json({"error": "NoSuchKey"}, 404)

    def _strike(self, path: str, size: int) -> Cut | None:
        """The fault that breaks this body, which it then has done once more."""
        with self._lock:
            for cut in self._cuts:
                if cut.times and path.endswith(cut.suffix) and size > cut.after:
                    cut.times -= 1
                    return cut
        return None

    def _open(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections[connection] = threading.current_thread()
            if self._server is None:
                _break(connection)

    def _closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub, port: int) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # without looking up a name for the address
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.hub._errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def hub(self) -> Hub:
        return cast(_Server, self.server).hub

    def setup(self) -> None:
        super().setup()
        self.hub._open(self.connection)

    def finish(self) -> None:
        self.hub._closed(self.connection)
        super().finish()

    def do_GET(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.hub.answer(self.command, self.path, headers, body)
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub._strike(answer.path, len(answer.body)) if answer.path else None
        if cut is None:
            self.wfile.write(answer.body)
            return
        self.wfile.write(answer.body[: cut.after])
        self.close_connection = True
        if cut.dies:
            self.hub.stop()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _break(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        connection.shutdown(socket.SHUT_RDWR)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    told = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Answer(status, told, json.dumps(value).encode())


def _refs(folder: str, names: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": sha}
        for name, sha in names.items()
    ]


def _admit(repo: Repo, token: str) -> None:
    if repo.gated and token != MEMBER:
        message = f"Access to {repo.kind} {repo.name} is restricted."
        raise Refusal(403 if token else 401, "GatedRepo", message)


def _tree(commit: Commit, path: str, recursive: bool, expand: bool) -> list[dict[str, Any]]:
    folders = commit.folders()
    if path in commit.files:
        paths = [path]
    elif path and path not in folders:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist", commit.sha)
    else:
        prefix = path and f"{path}/"
        inside = [each for each in (*folders, *commit.files) if each.startswith(prefix)]
        paths = [each for each in inside if recursive or "/" not in each[len(prefix) :]]
    entries = (commit.entry(each, expand) for each in sorted(paths))
    return [entry for entry in entries if entry is not None]


def _content(file: File, told: dict[str, str], asked: dict[str, str]) -> Answer:
    """A file, or the one range of it that was asked for."""
    told = {
        "ETag": file.etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        **told,
    }
    size = len(file.content)
    span = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
    if span is None or span.groups() == ("", ""):
        return Answer(200, told, file.content, file.path)
    first, last = span.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        return Answer(416, told | {"Content-Range": f"bytes */{size}"})
    told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, told, file.content[start:end], file.path)
