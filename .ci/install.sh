#!/usr/bin/env bash
# Installs the Debian packages that Switchback, its lab and its tests use, where they are missing.
# With nothing missing it touches nothing and needs neither root nor network.
set -euo pipefail

packages=(
    iproute2     # namespaces, wires, addresses
    nftables     # the routers' firewall and NAT
    dnsmasq-base # the routers' DHCP and DNS, the lab's internet
    busybox      # wget in the lab's VMs
    udhcpc       # the DHCP client of the lab's VMs
    isc-dhcp-client # that of DHCPv6
    ndisc6       # how they hear of routers
    gcc          # SQLite is built from source
    libc6-dev
    # What the tests ask the network with.
    bind9-dnsutils
    iputils-ping
    netcat-openbsd
)

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "error: ${missing[*]} must be installed, and you are neither root nor have sudo" >&2
        exit 1
    }
    as_root=(sudo)
fi
echo "Installing the Debian packages ${missing[*]} …" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
