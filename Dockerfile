# One image for every process; deploy/compose.yml says which runs what.
# Commands of agents run in bubblewrap, which needs more than a container has by default: see docs/sandbox.md.
FROM python:3.13-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 swarm \
    && install --directory --owner swarm --mode 700 /data

WORKDIR /app
COPY requirements/base.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY manage.py pyproject.toml LICENSE ./
COPY swarmsite swarmsite
COPY orchestration orchestration
COPY prompts prompts
COPY static static
COPY templates templates

ENV PYTHONUNBUFFERED=1 SWARM_DATA_DIR=/data
USER swarm
VOLUME /data
EXPOSE 8000
CMD ["daphne", "--bind", "0.0.0.0", "--port", "8000", "swarmsite.asgi:application"]
