# One image for every process of MindWeave; docker-compose.yml says which runs where.
FROM python:3.13-slim AS packages
COPY requirements.txt deploy/uv.txt /tmp/
RUN python -m venv /opt/mindweave \
    && /opt/mindweave/bin/pip install --no-cache-dir --quiet --require-hashes -r /tmp/uv.txt \
    && /opt/mindweave/bin/uv pip install --quiet --compile-bytecode --no-cache \
        --python /opt/mindweave/bin/python --require-hashes -r /tmp/requirements.txt

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin mindweave \
    && install -d -o mindweave -g mindweave /var/lib/mindweave
COPY --from=packages /opt/mindweave /opt/mindweave
WORKDIR /srv/mindweave
COPY . .
ENV PATH=/opt/mindweave/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MINDWEAVE_DATA_DIR=/var/lib/mindweave \
    STATIC_ROOT=/srv/static
# The settings want a key to be read at all; this one is gone with the layer's command.
RUN MINDWEAVE_DATA_DIR=/tmp/build SECRET_KEY=only-to-collect-static-files-in-this-step-of-the-build \
    python manage.py collectstatic --noinput --verbosity 0 && rm -rf /tmp/build && python -m compileall -q apps mindweave
USER mindweave
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "mindweave.wsgi:application"]
