# Longcall for Cloud Run, GKE and wherever else containers run; App Engine needs none. docs/cloud-run.md, docs/gke.md
FROM python:3.13-slim-bookworm AS parts
COPY requirements.txt .
RUN python -m venv /parts && /parts/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.13-slim-bookworm
COPY --from=parts /parts /parts
COPY src /longcall/src
# Compiled once, and not at each start.
RUN python -m compileall -q /longcall/src
ENV PATH=/parts/bin:$PATH PYTHONPATH=/longcall/src PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /longcall
USER 65532:65532
EXPOSE 8080
# A shell for $PORT alone: exec hands it SIGTERM, which drains.
CMD ["sh", "-c", "exec python -m longcall runner --host 0.0.0.0 --port ${PORT:-8080}"]
