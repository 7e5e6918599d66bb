#!/usr/bin/env bash
# From a fresh clone to a small data centre in network namespaces, served by virtual routers that an event log
# configures. Changes nothing on this machine but Debian packages, which it names, and `target/` here.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

step "1/3 packages: what Switchback uses on Debian, if it is missing"
.ci/install.sh --demo
if ! command -v cargo >/dev/null; then
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    else
        echo "error: Rust is not installed" >&2
        echo "hint: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
        exit 1
    fi
fi

step "2/3 build: cargo build --release (some minutes the first time)"
cargo build --release --locked

step "3/3 demo: a data centre with two hosts, real packets, everything removed at the end"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    echo "(making network namespaces needs root: sudo may ask for your password)"
    as_root=(sudo)
fi
"${as_root[@]}" target/release/switchback lab demo

cat <<'TEXT'

How to go on:
  alias sb='sudo target/release/switchback'    # or run as root
  sb lab up                                    # a data centre that stays; prints the two variables to export
  sb CreateVmInstance name=web-1 …             # the line that `lab up` prints
  sb lab status
  sb lab exec web-1 -- busybox wget -qO- http://www.example.test/
  sb lab down
README.md says what is what; ./test.sh runs all tests.
TEXT
