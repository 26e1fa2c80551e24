# The scorer as an image: two stages, so that nothing which builds it travels in it.
#   docker build -t streaming-scorer:0.1.0 .
FROM python:3.12.13-slim-trixie AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1
WORKDIR /src
COPY requirements/uv.txt requirements/dev.txt requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/uv.txt
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY models models
COPY scorer scorer
# The build backend is no dependency of ours at run time; the dev lock pins it and all it needs, by hash.
RUN uv build --wheel --build-constraints requirements/dev.txt --require-hashes --out-dir /wheels

FROM python:3.12.13-slim-trixie
RUN groupadd --gid 10001 scorer \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin scorer \
    && install --directory --owner 10001 --group 10001 /var/cache/scorer
RUN --mount=type=bind,source=requirements/runtime.txt,target=/tmp/runtime.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/tmp/wheels \
    pip install --no-cache-dir --root-user-action ignore --require-hashes --only-binary :all: -r /tmp/runtime.txt \
    && pip install --no-cache-dir --root-user-action ignore --no-index --no-deps /tmp/wheels/*.whl \
    && pip check
# The same bundles as in the wheel, at a place that does not change with the version of Python.
COPY models /srv/scorer/models
# A fault in native code leaves a traceback; nothing is written but caches below XDG_CACHE_HOME, so the root may be read-only.
ENV PYTHONFAULTHANDLER=1 PYTHONDONTWRITEBYTECODE=1 XDG_CACHE_HOME=/var/cache
WORKDIR /srv/scorer
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["scorer"]
