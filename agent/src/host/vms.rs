//! VMs of the lab: a network namespace, a host name and name servers of its own, and a real DHCP client for
//! each interface. Its first process stands for the VM: whoever enters its namespaces is in the VM.
//!
//! ```text
//!  document ──► plugs (links, as of any appliance) ──► orders: start, stop, renew eth1 ──► first process ──► udhcpc, dhclient
//! ```
//!
//! A VM of the same generation is never started again: interfaces come and go while it runs.

use super::{HostSettings, Outcome, Site, plugs, record::MadeVm};
use crate::{
    check,
    kernel::{House, Kernel, KernelError, LinkChange, ProcessId, Spawn},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use switchback_appliance::{PlugConfig, VmConfig};
use switchback_events::VmInstanceId;

const SCRIPT: &str = "udhcpc.sh";
const INIT: &str = "vm.sh";
const SIX: &str = "vm6.sh";
const SIX_SCRIPT: &str = "dhclient6.sh";
const SIX_SETTINGS: &str = "dhclient6.conf";
/// The pipe that the first process of a VM reads.
const ORDERS: &str = "orders";

/// What a DHCP client does with what it is told.
const SCRIPT_TEXT: &str = r#"#!/bin/sh
# Called by udhcpc: takes the address, and on the default interface the route and the name servers.
case "$1" in
deconfig)
    rm -f "$VM_DIR/$interface.lease"
    ip -4 addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    [ "$1" = bound ] && ip -4 addr flush dev "$interface"
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    ip addr replace "$ip/$mask" broadcast + dev "$interface"
    if [ "$interface" = "$(cat "$VM_DIR/default")" ]; then
        [ -n "$router" ] && [ -z "$staticroutes" ] && ip route replace default via "${router%% *}" dev "$interface"
        {
            [ -n "$domain" ] && echo "search $domain"
            for server in $dns; do echo "nameserver $server"; done
        } >"$VM_DIR/names"
        cat "$VM_DIR/names" "$VM_DIR/$interface.names6" 2>/dev/null >"$VM_DIR/resolv.conf"
    fi
    # Option 121: the default route is among them, and the option for the router does not count.
    ip route flush dev "$interface" proto static
    set -- $staticroutes
    while [ $# -ge 2 ]; do
        if [ "$1" != 0.0.0.0/0 ]; then
            ip route replace "$1" via "$2" dev "$interface" proto static
        elif [ "$interface" = "$(cat "$VM_DIR/default")" ]; then
            ip route replace default via "$2" dev "$interface"
        fi
        shift 2
    done
    echo "$ip/$mask" >"$VM_DIR/.$interface.lease"
    mv "$VM_DIR/.$interface.lease" "$VM_DIR/$interface.lease"
    ;;
esac
exit 0
"#;

/// What a VM does on an interface with IPv6. The kernel makes the route of what routers advertise, and the address where
/// hosts make them.
const SIX_TEXT: &str = r#"#!/bin/sh
# Listens to what routers advertise on the interface $1, and asks by DHCP for what they say is to be asked for.
told() { printf '%s\n' "$said" | sed -n "s/^ *$1 *: *//p"; }
while :; do
    said=$(rdisc6 -1 -r 1 -w 1000 "$1" 2>/dev/null)
    [ -n "$(told 'Hop limit')" ] && break
    sleep 1
done
{
    [ -n "$(told 'DNS search list')" ] && echo "search $(told 'DNS search list')"
    for server in $(told 'Recursive DNS server'); do echo "nameserver $server"; done
} >"$VM_DIR/$1.names6"
[ "$1" = "$(cat "$VM_DIR/default")" ] && cat "$VM_DIR/names" "$VM_DIR/$1.names6" 2>/dev/null >"$VM_DIR/resolv.conf"
case "$(told 'Stateful address conf.') $(told 'Stateful other conf.')" in
Yes*) asks= ;;
*Yes) asks=-S ;;
*) exec sleep infinity ;;
esac
# What it was given before may be another's now.
rm -f "$VM_DIR/$1.lease6"
exec dhclient -6 $asks -d -q -D LL -e "VM_DIR=$VM_DIR" -cf "${0%/*}/dhclient6.conf" -sf "${0%/*}/dhclient6.sh" \
    -lf "$VM_DIR/$1.lease6" -pf "$VM_DIR/$1.dhclient" "$1"
"#;

/// What the DHCPv6 client does with what it is told.
const SIX_SCRIPT_TEXT: &str = r#"#!/bin/sh
# Called by dhclient: takes the address, and on the default interface the name servers.
case "$reason" in
BOUND6 | RENEW6 | REBIND6)
    [ -n "$new_ip6_address" ] && ip -6 addr replace "$new_ip6_address/128" dev "$interface" \
        valid_lft "$new_max_life" preferred_lft "$new_preferred_life"
    {
        [ -n "$new_dhcp6_domain_search" ] && echo "search $new_dhcp6_domain_search"
        for server in $new_dhcp6_name_servers; do echo "nameserver $server"; done
    } >"$VM_DIR/$interface.names6"
    [ "$interface" = "$(cat "$VM_DIR/default")" ] &&
        cat "$VM_DIR/names" "$VM_DIR/$interface.names6" 2>/dev/null >"$VM_DIR/resolv.conf"
    ;;
EXPIRE6 | RELEASE6 | STOP6)
    [ -n "$old_ip6_address" ] && ip -6 addr del "$old_ip6_address/128" dev "$interface"
    ;;
esac
exit 0
"#;

/// What the DHCPv6 client asks for besides an address.
const SIX_SETTINGS_TEXT: &str = "request dhcp6.name-servers, dhcp6.domain-search;\n";

/// The first process of a VM. It is told by lines in a pipe, one order each.
const INIT_TEXT: &str = r#"#!/bin/sh
# Runs a DHCP client for each interface, and starts, ends and renews them as it is told.
end() {
    [ -f "$VM_DIR/$1.pid" ] || return 0
    client=$(cat "$VM_DIR/$1.pid")
    rm -f "$VM_DIR/$1.pid"
    kill "$client" 2>/dev/null
    wait "$client" 2>/dev/null
    rm -f "$VM_DIR/$1.lease"
    ip -4 addr flush dev "$1" 2>/dev/null
}
end6() {
    [ -f "$VM_DIR/$1.pid6" ] || return 0
    client=$(cat "$VM_DIR/$1.pid6")
    rm -f "$VM_DIR/$1.pid6" "$VM_DIR/$1.names6"
    kill "$client" 2>/dev/null
    wait "$client" 2>/dev/null
    ip -6 addr flush dev "$1" scope global 2>/dev/null
    [ "$1" != "$(cat "$VM_DIR/default")" ] || cat "$VM_DIR/names" 2>/dev/null >"$VM_DIR/resolv.conf"
}
six() {
    end6 "$1"
    grep -qx "$1" "$VM_DIR/six" || return 0
    sh "$VM_SIX" "$1" 3>&- &
    echo $! >"$VM_DIR/$1.pid6"
}
start() {
    end "$1"
    udhcpc -f -i "$1" -x "hostname:$(cat "$VM_DIR/hostname")" -s "$VM_SCRIPT" -O mtu -O staticroutes -t 1000000 -T 1 -A 1 3>&- &
    echo $! >"$VM_DIR/$1.pid"
}
exec 3<>"$VM_DIR/orders"
for interface in "$@"; do
    start "$interface"
    six "$interface"
done
while read -r order interface <&3; do
    case "$order" in
    start) start "$interface" ;;
    stop)
        end "$interface"
        end6 "$interface"
        ;;
    six) six "$interface" ;;
    renew) [ -f "$VM_DIR/$interface.pid" ] && kill -USR1 "$(cat "$VM_DIR/$interface.pid")" ;;
    rename)
        cat "$VM_DIR/hostname" >/proc/sys/kernel/hostname
        printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$(cat "$VM_DIR/hostname")" >"$VM_DIR/hosts"
        ;;
    esac
done
"#;

/// Puts each argument as a line into a pipe that someone reads; a pipe is opened both ways, so that nobody waits.
const TELL: &str = r#"[ -p "$0" ] && printf '%s\n' "$@" 1<>"$0""#;

/// The namespace of a VM.
pub fn namespace(settings: &HostSettings, vm: VmInstanceId) -> String {
    format!("{}-vm-{}", settings.prefix, vm.0.tail())
}

fn directory(state_dir: &Path, vm: VmInstanceId) -> PathBuf {
    state_dir.join("vms").join(vm.to_string())
}

/// Writes the scripts of the first processes and of the DHCP clients, one for all VMs.
pub fn write_scripts(kernel: &dyn Kernel, settings: &HostSettings) -> Result<(), KernelError> {
    let scripts = [(INIT, INIT_TEXT), (SCRIPT, SCRIPT_TEXT), (SIX, SIX_TEXT), (SIX_SCRIPT, SIX_SCRIPT_TEXT)];
    for (name, text) in scripts {
        kernel.write(&settings.state_dir.join(name), text.as_bytes(), 0o755)?;
    }
    kernel.write(&settings.state_dir.join(SIX_SETTINGS), SIX_SETTINGS_TEXT.as_bytes(), 0o644)
}

/// Makes the VM what it should be.
pub fn ensure(site: &Site<'_>, vm: VmInstanceId, config: &VmConfig, mut made: Option<MadeVm>) -> Outcome<MadeVm> {
    let mut actions = Vec::new();
    let result = bring_up(site, vm, config, &mut made, &mut actions).map(|()| None);
    Outcome { made, result, actions }
}

fn bring_up(
    site: &Site<'_>,
    vm: VmInstanceId,
    config: &VmConfig,
    made: &mut Option<MadeVm>,
    actions: &mut Vec<String>,
) -> Result<(), String> {
    check::vm(config)?;
    let kernel = site.kernel;
    let name = namespace(site.settings, vm);
    // What an agent of before has started takes no orders.
    let listens = |held: &MadeVm| held.orders && kernel.alive(&held.process);
    if let Some(held) = made
        && held.config.generation == config.generation
        && listens(held)
        && site.namespaces.contains(&name)
    {
        return change(site, vm, config, held, actions);
    }
    plugs::remove(site, &config.plugs).map_err(|error| error.to_string())?;
    tear_down(site, vm, made.as_ref()).map_err(|error| error.to_string())?;
    *made = None;
    kernel.add_namespace(&name).map_err(|error| error.to_string())?;
    plugs::ensure(site, &name, &config.plugs, true)?;
    let interfaces = config.plugs.iter().map(|plug| plug.name.clone());
    let up: Vec<LinkChange> = std::iter::once("lo".to_string()).chain(interfaces).map(LinkChange::Up).collect();
    kernel.change_links(Some(&name), &up).map_err(|error| error.to_string())?;
    let process = start(site, vm, config).map_err(|error| error.to_string())?;
    actions.push(format!("start VM {name} at generation {}", config.generation));
    let held = MadeVm { config: config.clone(), process, addresses: BTreeMap::new(), orders: true };
    describe(kernel, site.settings, vm, &held).map_err(|error| error.to_string())?;
    *made = Some(held);
    Ok(())
}

/// Makes a VM that runs what it should be: plugs come and go, and clients with them. What fails on the way is done
/// again with the next document, since the record is changed last.
fn change(
    site: &Site<'_>,
    vm: VmInstanceId,
    config: &VmConfig,
    held: &mut MadeVm,
    actions: &mut Vec<String>,
) -> Result<(), String> {
    let (kernel, name) = (site.kernel, namespace(site.settings, vm));
    let files = directory(&site.settings.state_dir, vm);
    let failed = |error: KernelError| error.to_string();
    let before = held.config.clone();
    let same = |plug: &PlugConfig, other: &PlugConfig| {
        plug.internal_name == other.internal_name && plug.name == other.name && plug.mac == other.mac
    };
    let gone = before.plugs.iter().filter(|plug| !config.plugs.iter().any(|wanted| same(plug, wanted)));
    let gone: Vec<PlugConfig> = gone.cloned().collect();
    let stop: Vec<String> = gone.iter().map(|plug| format!("stop {}", plug.name)).collect();
    tell(kernel, &files, &stop).map_err(failed)?;
    plugs::remove(site, &gone).map_err(failed)?;
    let made = plugs::ensure(site, &name, &config.plugs, false)?;
    let up: Vec<LinkChange> = made.iter().cloned().map(LinkChange::Up).collect();
    kernel.change_links(Some(&name), &up).map_err(failed)?;
    let renamed = before.hostname != config.hostname;
    if renamed {
        kernel.write(&files.join("hostname"), config.hostname.as_bytes(), 0o644).map_err(failed)?;
    }
    if before.default_plug != config.default_plug {
        kernel.write(&files.join("default"), config.default_plug.as_bytes(), 0o644).map_err(failed)?;
    }
    if with_six(&before) != with_six(config) {
        kernel.write(&files.join("six"), with_six(config).as_bytes(), 0o644).map_err(failed)?;
    }
    let mut orders = Vec::new();
    if renamed {
        orders.push("rename".to_string());
    }
    for plug in &config.plugs {
        let known = before.plugs.iter().find(|other| same(plug, other)).filter(|_| !made.contains(&plug.name));
        let default = plug.name == config.default_plug && plug.name != before.default_plug;
        match known {
            Some(other) if other.lease == plug.lease => {
                if renamed || default || other.mtu != plug.mtu {
                    orders.push(format!("renew {}", plug.name));
                }
            }
            _ => orders.push(format!("start {}", plug.name)),
        }
        if known.and_then(|other| other.lease6) != plug.lease6 {
            orders.push(format!("six {}", plug.name));
        }
    }
    tell(kernel, &files, &orders).map_err(failed)?;
    if before != *config {
        let moved = config
            .plugs
            .iter()
            .filter(|plug| before.plugs.iter().any(|other| same(plug, other) && other.bridge != plug.bridge));
        let moved = moved.map(|plug| format!("plug {} into {}", plug.name, plug.bridge));
        let done: Vec<String> = stop.iter().chain(&orders).cloned().chain(moved).collect();
        actions.push(format!("change VM {name}: {}", done.join(", ")));
        held.config = config.clone();
        describe(kernel, site.settings, vm, held).map_err(failed)?;
    }
    Ok(())
}

/// The names of the interfaces with IPv6, one a line.
fn with_six(config: &VmConfig) -> String {
    config.plugs.iter().filter(|plug| plug.lease6.is_some()).map(|plug| format!("{}\n", plug.name)).collect()
}

/// Gives orders to the first process of a VM.
fn tell(kernel: &dyn Kernel, files: &Path, orders: &[String]) -> Result<(), KernelError> {
    if orders.is_empty() {
        return Ok(());
    }
    let pipe = files.join(ORDERS).display().to_string();
    let mut args = vec!["-c", TELL, pipe.as_str()];
    args.extend(orders.iter().map(String::as_str));
    kernel.run("sh", &args)
}

fn start(site: &Site<'_>, vm: VmInstanceId, config: &VmConfig) -> Result<ProcessId, KernelError> {
    let kernel = site.kernel;
    let files = directory(&site.settings.state_dir, vm);
    let (resolv, hosts) = (files.join("resolv.conf"), files.join("hosts"));
    kernel.write(&resolv, b"", 0o644)?;
    kernel.write(&hosts, format!("127.0.0.1 localhost\n127.0.1.1 {}\n", config.hostname).as_bytes(), 0o644)?;
    kernel.write(&files.join("hostname"), config.hostname.as_bytes(), 0o644)?;
    kernel.write(&files.join("default"), config.default_plug.as_bytes(), 0o644)?;
    kernel.write(&files.join("six"), with_six(config).as_bytes(), 0o644)?;
    kernel.run("mkfifo", &[&files.join(ORDERS).display().to_string()])?;
    let over = [(resolv, PathBuf::from("/etc/resolv.conf")), (hosts, PathBuf::from("/etc/hosts"))];
    let house = House {
        namespace: namespace(site.settings, vm),
        private_run: false,
        files: over.into_iter().filter(|(_, over)| kernel.exists(over)).collect(),
        hostname: Some(config.hostname.clone()),
    };
    let script = |name: &str| site.settings.state_dir.join(name).display().to_string();
    let env = BTreeMap::from([
        ("VM_DIR".to_string(), files.display().to_string()),
        ("VM_SCRIPT".to_string(), script(SCRIPT)),
        ("VM_SIX".to_string(), script(SIX)),
    ]);
    let log = files.join("vm.log");
    let interfaces = config.plugs.iter().map(|plug| plug.name.clone());
    let args = std::iter::once(script(INIT)).chain(interfaces).collect();
    kernel.spawn(&Spawn { program: PathBuf::from("/bin/sh"), args, env, log, house: Some(house), survives: true })
}

/// Notes the addresses that the DHCP clients were given, where they changed.
pub fn note_addresses(kernel: &dyn Kernel, settings: &HostSettings, vm: VmInstanceId, held: &mut MadeVm) {
    let files = directory(&settings.state_dir, vm);
    let lease = |name: &String| {
        let text = kernel.read(&files.join(format!("{name}.lease"))).ok().flatten()?;
        Some((name.clone(), text.trim().parse().ok()?))
    };
    let addresses: BTreeMap<_, _> = held.config.plugs.iter().filter_map(|plug| lease(&plug.name)).collect();
    if addresses != held.addresses {
        held.addresses = addresses;
        if let Err(error) = describe(kernel, settings, vm, held) {
            tracing::warn!(%vm, %error, "cannot note the addresses of a VM");
        }
    }
}

/// Writes `vm.json`, for `switchback lab exec`.
fn describe(kernel: &dyn Kernel, settings: &HostSettings, vm: VmInstanceId, held: &MadeVm) -> Result<(), KernelError> {
    let text = json!({
        "name": held.config.name,
        "uuid": vm,
        "pid": held.process.pid,
        "netns": namespace(settings, vm),
        "addresses": held.addresses,
    });
    kernel.write(&directory(&settings.state_dir, vm).join("vm.json"), text.to_string().as_bytes(), 0o644)
}

fn tear_down(site: &Site<'_>, vm: VmInstanceId, made: Option<&MadeVm>) -> Result<(), KernelError> {
    if let Some(made) = made {
        plugs::remove(site, &made.config.plugs)?;
    }
    site.kernel.remove_namespace(&namespace(site.settings, vm))?;
    site.kernel.remove(&directory(&site.settings.state_dir, vm))
}

/// Removes a VM and its files.
pub fn remove(site: &Site<'_>, vm: VmInstanceId, made: &MadeVm) -> Result<String, KernelError> {
    tear_down(site, vm, Some(made))?;
    Ok(format!("remove VM {}", namespace(site.settings, vm)))
}
