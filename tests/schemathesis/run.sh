#!/usr/bin/env bash
# Asks a server with simulated hosts whatever its OpenAPI document allows, and more, and takes every answer that is not in the
# document for a failure. Needs Python 3.10 or later with venv; installs schemathesis into target/schemathesis.
#   tests/schemathesis/run.sh [BINARY] [EXAMPLES] [SEED]
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$PWD
binary=${1:-target/debug/switchback}
examples=${2:-20}
seed=${3:-$RANDOM}
venv=target/schemathesis

if ! cmp -s tests/schemathesis/requirements.txt "$venv/requirements.txt"; then
    command -v python3 >/dev/null || {
        echo "error: schemathesis needs Python 3" >&2
        exit 1
    }
    rm -rf "$venv"
    python3 -m venv "$venv" || {
        echo "error: Python's venv is missing; on Debian it is in the package python3-venv" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/schemathesis/requirements.txt
    cp tests/schemathesis/requirements.txt "$venv/requirements.txt"
fi

folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
"$binary" serve --simulate --log-json --listen 127.0.0.1:0 --bus off --data "$folder/data" 2>"$folder/log" &
server=$!
address=
for _ in $(seq 300); do
    address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$folder/log" | head -1)
    [ -z "$address" ] || break
    kill -0 "$server" 2>/dev/null || {
        cat "$folder/log" >&2
        exit 1
    }
    sleep 0.1
done
[ -n "$address" ] || {
    echo "error: the server is not ready after 30 s" >&2
    exit 1
}

echo "schemathesis with seed $seed and $examples examples an operation" >&2
failed=0
# It leaves notes where it runs.
cd "$folder"
"$root/$venv/bin/schemathesis" --config-file "$root/tests/schemathesis/schemathesis.toml" run "http://$address/openapi.json" \
    --header "Authorization: Bearer $(cat "$folder/data/admin.token")" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples "$examples" --seed "$seed" --request-timeout 60 --no-color || failed=$?
if grep -q 'panicked' "$folder/log"; then
    grep 'panicked' "$folder/log" >&2
    failed=1
fi
kill -0 "$server" || failed=1
exit "$failed"
