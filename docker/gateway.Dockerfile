# The gateway with the wasm server. Build from the root of the source tree: docker build -f docker/gateway.Dockerfile .

FROM debian:trixie-slim AS assets
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates clang lld nodejs npm python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY wasm_server ./wasm_server
RUN python3 -m wasm_server.build --directory /assets
COPY gateway/__init__.py ./gateway/__init__.py
COPY gateway/api/__init__.py ./gateway/api/__init__.py
COPY gateway/api/explorer ./gateway/api/explorer
RUN python3 -m gateway.api.explorer.build --directory /docs
COPY gateway/api/dashboard ./gateway/api/dashboard
RUN python3 -m gateway.api.dashboard.build --directory /dashboard

FROM python:3.11-slim-trixie AS packages
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

# The packet path, compiled with the types of the packages at hand.
FROM packages AS compiled
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY .ci/requirements-build.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY pyproject.toml setup.py README.md ./
COPY gateway ./gateway
RUN python setup.py -q build_ext --inplace && python -m gateway.media.compiled

FROM packages
COPY --from=compiled /app/gateway ./gateway
COPY wasm_server ./wasm_server
COPY --from=assets /assets ./build/wasm
COPY --from=assets /docs ./build/docs
COPY --from=assets /dashboard ./build/dashboard
RUN useradd --system --uid 10001 --home-dir /var/lib/ponte --create-home ponte
USER ponte
ENV PONTE_STATE_DIR=/var/lib/ponte \
    PONTE_API_HOST=0.0.0.0 \
    PONTE_WASM_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /var/lib/ponte
EXPOSE 8080 9080 5080/udp 5080/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
# SIGTERM drains: finish the calls in progress, take no new ones.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "gateway.cli"]
CMD ["serve"]
