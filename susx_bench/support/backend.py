"""A client of ``clip-retrieval back``, which finds images for a text in the user's own index.

Source: the REST interface of https://github.com/rom1504/clip-retrieval. LAION's public server,
which SuS-X used, has been offline since the end of 2023.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from susx_bench.errors import RetrievalError
from susx_bench.support.download import certificates

_Shape = TypeVar("_Shape")

_TRIES: Final = 3
_PAUSE: Final = 1.0
"""Seconds before the second try; doubled for the third."""


class Hit(NamedTuple):
    """A result of a query.

    Attributes:
        url: Its URL when the index was made.
        caption: Its caption; may be empty.
        similarity: Similarity of query and image; a cosine if the index holds unit features.
        id: Its row in the index.
    """

    url: str
    caption: str
    similarity: float
    id: int


class _Row(BaseModel):
    """A hit as the backend sends it; further columns are ignored."""

    model_config = ConfigDict(strict=True)

    id: int
    similarity: FiniteFloat
    url: str | None = None
    caption: str | None = None


_ROWS: Final = TypeAdapter(list[_Row])
_NAMES: Final = TypeAdapter(list[str])


class Backend:
    """One index of a running backend.

    Args:
        url: Its address, such as ``http://localhost:1234``. It is the user's own, so any address
            is allowed.
        index: The name of the index, a key of the backend's ``indices_paths.json``.
        timeout: Seconds to wait for the connection, and for each part of an answer, > 0.

    Raises:
        RetrievalError: If no backend answers, or it has no such index.
    """

    def __init__(self, url: str, index: str, timeout: float) -> None:
        # clip-retrieval's own client takes the longer form
        self.url = url.rstrip("/").removesuffix("/knn-service")
        self.index = index
        self.timeout = timeout
        names = self._ask("GET", "indices-list", _NAMES)
        if index not in names:
            raise RetrievalError(
                f"{self.url} has no index '{index}'. It has: {', '.join(names) or 'none'}."
            )

    def query(self, text: str, k: int) -> list[Hit]:
        """Find images for a text.

        The backend drops near-duplicates and images that its safety models flag, as for SuS-X.

        Args:
            text: The query.
            k: Number of neighbours to examine, > 0; some may be dropped.

        Returns:
            At most `k` hits, most similar first, equal ones by id.

        Raises:
            RetrievalError: If the backend does not answer, or in another form.
        """
        rows = self._ask(
            "POST",
            "knn-service",
            _ROWS,
            {
                "text": text,
                "image": None,
                "image_url": None,
                "embedding_input": None,
                "modality": "image",
                "num_images": k,
                "num_result_ids": k,
                "indice_name": self.index,
                "use_mclip": False,
                "deduplicate": True,
                "use_safety_model": True,
                "use_violence_detector": True,
                "aesthetic_score": "",
                "aesthetic_weight": 0.5,
            },
        )
        # An image without a URL is on the backend's own disk. The manifest lists its id, with the
        # fate of an invalid URL.
        hits = [
            Hit(row.url or f"id:{row.id}", row.caption or "", row.similarity, row.id)
            for row in rows
        ]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.id))

    def _ask(
        self,
        method: str,
        path: str,
        shape: TypeAdapter[_Shape],
        question: dict[str, Any] | None = None,
    ) -> _Shape:
        place = f"{self.url}/{path}"
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(_TRIES),
            wait=wait_exponential(multiplier=_PAUSE),
            reraise=True,
        )
        try:
            answer = retrying(_request, method, place, question, self.timeout)
        except httpx2.HTTPStatusError as error:
            status = f"{error.response.status_code} {error.response.reason_phrase}"
            raise RetrievalError(
                f"{place} answered {status}; the backend's log says why."
            ) from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise RetrievalError(
                f"{place} does not answer: {reason}. Is `clip-retrieval back` running there?"
            ) from error
        try:
            return shape.validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise RetrievalError(
                f"{place}: {where}: {first['msg']}. Is it a backend of clip-retrieval?"
            ) from error


def _request(
    method: str, url: str, question: dict[str, Any] | None, timeout: float
) -> httpx2.Response:
    answer = httpx2.request(method, url, json=question, timeout=timeout, verify=certificates())
    return answer.raise_for_status()


def _may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed."""
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code == 429 or error.response.is_server_error
    trouble = httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError
    return isinstance(error, trouble)
