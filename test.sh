#!/usr/bin/env bash
# Format, lints and all tests, those with real packets included; they need root and never skip themselves.
#   ./test.sh          fast and complete
#   ./test.sh --full   also licences, bans and sources of all dependencies, and the long runs
set -euo pipefail
cd "$(dirname "$0")"

full=false
for argument in "$@"; do
    case "$argument" in
        --full) full=true ;;
        *)
            echo "usage: ./test.sh [--full]" >&2
            exit 2
            ;;
    esac
done

step() { echo "== $*" >&2; }

if [ "$(id -u)" -ne 0 ]; then
    # Cargo stays what it is; only the tests themselves run as root.
    triple=$(rustc -vV | sed -n 's/^host: //p')
    export "CARGO_TARGET_$(echo "$triple" | tr 'a-z-' 'A-Z_')_RUNNER=sudo -E"
fi
if $full; then
    export SWITCHBACK_FULL=1
fi

step "packages"
.ci/install.sh
step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
step "tests"
SWITCHBACK_REFUSALS=$(mktemp -d)
export SWITCHBACK_REFUSALS
trap 'rm -rf "$SWITCHBACK_REFUSALS"' EXIT
# All that fails is said at once.
cargo test --workspace --locked --quiet --no-fail-fast
step "refusals that no test reaches"
# The same selection of packages as before: another one has other features, and is built once more.
cargo test --workspace --test tidy --locked --quiet -- --ignored every_refusal_is_reached_by_a_test
if $full; then
    step "the interface against its document"
    cargo build --workspace --locked --quiet
    tests/schemathesis/run.sh
    step "licences, bans and sources of the dependencies"
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    cargo fetch --locked
    cargo deny --offline check licenses bans sources
fi
step "all is well"
