# The daemon on a slim Python. The base must bring python3 (with venv) and nothing else:
#   docker build --tag openai-proxy .
#   docker build --build-arg BASE_IMAGE=debian-with-python3 --tag openai-proxy .
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /build
# Every wheel is one that the lock names by its hash; nothing else can be installed below.
COPY requirements/run.txt requirements/
RUN /build/bin/pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels --requirement requirements/run.txt \
    && /build/bin/pip install --no-index --find-links /wheels hatchling
COPY pyproject.toml README.md LICENSE ./
COPY openai_proxy openai_proxy
COPY twisted twisted
# The same path as in the final stage: a virtualenv cannot be moved. It gets neither pip nor hatchling.
RUN /build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python3 -m venv --without-pip /opt/openai-proxy \
    && /build/bin/pip --python /opt/openai-proxy/bin/python install --no-index --find-links /wheels openai-proxy
# Without dropin.cache twistd imports every plugin at each start, and says it cannot write one.
RUN /opt/openai-proxy/bin/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"

FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="openai-proxy" \
      org.opencontainers.image.description="A transparent, observable proxy daemon for OpenAI and providers like it" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Upstreams are verified against the system's authorities; python:slim brings them, other bases may not.
RUN test -s /etc/ssl/certs/ca-certificates.crt \
    || { apt-get update && apt-get install --yes --no-install-recommends ca-certificates \
         && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/openai-proxy /opt/openai-proxy
# python:slim has no bytecode of the standard library, and its user may not write any: without it every
# start would compile 190 modules again, for 0.6 s of CPU and a megabyte that is never given back.
RUN /opt/openai-proxy/bin/python -c "import twisted.scripts.twistd, twisted.internet.reactor, openai_proxy.tap, openai_proxy.service, openai_proxy.lifecycle, openai_proxy.providers.mock.agent, prometheus_client.twisted"
ENV PATH=/opt/openai-proxy/bin:$PATH \
    OPENAI_PROXY_REVISION=${REVISION} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 10001:10001
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
# http.client, as urllib would ask a proxy of the environment for 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/opt/openai-proxy/bin/python", "-IS", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/openai-proxy/bin/twistd", "--nodaemon", "--pidfile=", "openaiproxy"]
CMD ["--port", "8080"]
