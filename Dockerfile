# Two images: `tuner` (the default) and `engine-sim`, the simulated engine (--target engine-sim).
#   docker build -t tuner .          docker build -t tuner-engine-sim --target engine-sim .
# Everything installed is locked with hashes in requirements/.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python3 -m venv /opt/tuner \
 && /opt/tuner/bin/pip install --require-hashes -r requirements/runtime.txt
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY search_spaces/ search_spaces/
COPY tuner/ tuner/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && /opt/tuner/bin/pip install --no-deps --no-index /wheels/*.whl

FROM ${BASE_IMAGE} AS runtime
ENV PATH=/opt/tuner/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/var/lib/tuner
RUN mkdir -p /var/lib/tuner && chown 65532:65532 /var/lib/tuner
COPY --from=build /opt/tuner /opt/tuner
WORKDIR /var/lib/tuner
USER 65532:65532

FROM runtime AS engine-sim
# What `tuner engine-sim` runs, without loading the rest of the command line first.
EXPOSE 8000
ENTRYPOINT ["python", "-m", "tuner.standin"]

FROM runtime AS tuner
ENTRYPOINT ["tuner"]
