#!/bin/sh
# What `make lint` checks. Everything runs, then the failures are named together.
set -u
failed=""
check() {
    name=$1
    shift
    printf '%s … ' "$name"
    if output=$("$@" 2>&1); then
        echo ok
    else
        echo FAILED
        printf '%s\n' "$output"
        failed="$failed $name,"
    fi
}
# The settings are read without servers: nothing here asks the database.
export MINDWEAVE_ENV=development DJANGO_SETTINGS_MODULE=mindweave.settings
export DATABASE_URL=postgres://nobody@%2Fnonexistent/none
MINDWEAVE_DATA_DIR=$(mktemp -d)
export MINDWEAVE_DATA_DIR
trap 'rm -rf "$MINDWEAVE_DATA_DIR"' EXIT

# mypy takes as long as all others together, and works beside them.
mypy_said=$MINDWEAVE_DATA_DIR/mypy
(
    mypy
    echo $? >"$mypy_said.code"
) >"$mypy_said" 2>&1 &

check "ruff" ruff check --no-cache --quiet .
check "ruff format" ruff format --no-cache --quiet --check .
check "import-linter" lint-imports --no-cache
check "djhtml" sh -c 'find templates -name "*.html" -not -path "templates/snippets/*" -print0 | xargs -0 djhtml --check --tabwidth 2'
check "migrations" python -W ignore manage.py makemigrations --check --dry-run
check "OpenAPI snapshot" python manage.py openapi --check
check "event snapshot" python manage.py events_snapshot --check
wait
check "mypy" sh -c 'cat "$0"; exit "$(cat "$0.code")"' "$mypy_said"

if [ -n "$failed" ]; then
    echo "Failed: ${failed%,}" >&2
    exit 1
fi
