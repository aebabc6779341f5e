# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/hub && python -m venv /opt/build
WORKDIR /src
# the dependencies are a layer of their own: a change of the code does not install them again. pip compares the hash of each with the lock
# file, which `make lock` writes, and installs nothing that is not in it
COPY requirements.lock requirements-build.lock ./
RUN /opt/hub/bin/pip install --require-hashes --requirement requirements.lock \
    && /opt/build/bin/pip install --require-hashes --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY hub hub
COPY channels channels
RUN /opt/build/bin/python -m hatchling build --target wheel && /opt/hub/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.11-slim
LABEL org.opencontainers.image.title="CX Event Hub" \
      org.opencontainers.image.description="The self-hosted real-time event hub for contact centres" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 hub && useradd --system --uid 10001 --gid hub --home-dir /data --shell /usr/sbin/nologin hub \
    && install -d -o hub -g hub -m 0750 /data /media
COPY --from=build /opt/hub /opt/hub
# one arena of glibc for all threads: those of more threads keep what large bodies left (docs/sizing.md)
ENV PATH=/opt/hub/bin:$PATH \
    MALLOC_ARENA_MAX=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HUB_DATA_DIR=/data
WORKDIR /data
# by number, so that an orchestrator can see that it is not root
USER 10001:10001
VOLUME /data
# 8080 for clients, 8081 for the other hubs of a cluster (link_listen)
EXPOSE 8080 8081
# /data is the only folder that is written to, and /media where several hubs share it (messaging.media_dir): run it with --read-only
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('HUB_PORT', '8080') + '/livez', timeout=2)"]
CMD ["hub", "serve", "--host", "0.0.0.0"]
