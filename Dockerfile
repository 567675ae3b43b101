# The gateway as an image: its data plane compiled, no compiler left inside, no root, and a root filesystem that may be
# read-only.
#
#   docker build -t connection-gateway .
#   docker run --read-only --tmpfs /tmp -v gateway-data:/data -p 127.0.0.1:8080:8080 -p 127.0.0.1:8081:8081 connection-gateway
#
# Everything that is written goes to /data: the database, the master key, the admin token and the policies. A new named
# volume starts with the policies that are in the image; into a directory of your own that you mount there, copy them.

FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# What is locked and nothing else, each file by its hash, and no code of theirs runs while it is installed.
COPY locks locks
RUN python -m venv /opt/gateway && \
    /opt/gateway/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r locks/run.txt && \
    python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r locks/run.txt -r locks/build.txt
COPY pyproject.toml README.md ./
COPY policies policies
COPY gateway gateway
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=1 /opt/build/bin/python -m build --wheel --no-isolation --outdir /wheels . && \
    /opt/gateway/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.13-slim
COPY policies /data/policies
RUN chown -R 10001:10001 /data && chmod 0700 /data
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_DATA_DIR=/data \
    GATEWAY_POLICIES_DIR=/data/policies \
    GATEWAY_PROXY__LISTEN=0.0.0.0:8080 \
    GATEWAY_WEB__LISTEN=0.0.0.0:8081 \
    GATEWAY_WEB__PUBLIC_URL=http://127.0.0.1:8081 \
    GATEWAY_LOG__FORMAT=json
WORKDIR /data
# A number, not a name: Kubernetes can only then check runAsNonRoot.
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080 8081
# http.client and not urllib, which would go through whatever HTTP_PROXY the container is given.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["/opt/gateway/bin/python", "-c", "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8081, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/gateway/bin/gateway"]
CMD ["serve"]
