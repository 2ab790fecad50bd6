# docker build -t susx-bench .                                      without a GPU
# docker build -t susx-bench --build-arg TORCH=auto .               with one: torch with CUDA
# docker run -v "$PWD/results:/work/results" susx-bench run --method tipx --setting few-shot
FROM python:3.12-slim-bookworm

ARG TORCH=cpu
ENV UV_TORCH_BACKEND=${TORCH} \
    UV_SYSTEM_PYTHON=1 \
    UV_COMPILE_BYTECODE=1

COPY . /src
RUN pip install --no-cache-dir "uv>=0.9" \
    && uv pip install --no-cache /src \
    && useradd --uid 1000 --create-home bench \
    && mkdir /work \
    && chown bench /work

USER 1000
WORKDIR /work
ENTRYPOINT ["susx-bench"]
CMD ["--help"]
