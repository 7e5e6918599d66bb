//! VMs of the lab: a network namespace, a host name and name servers of its own, and a real DHCP client for
//! each interface. Its first process stands for the VM: whoever enters its namespaces is in the VM.

use super::{HostSettings, Outcome, Site, plugs, record::MadeVm};
use crate::{
    check,
    kernel::{House, Kernel, KernelError, LinkChange, ProcessId, Spawn},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};
use switchback_appliance::VmConfig;
use switchback_events::VmInstanceId;

const SCRIPT: &str = "udhcpc.sh";

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
    if [ "$interface" = "$VM_DEFAULT" ]; then
        [ -n "$router" ] && [ -z "$staticroutes" ] && ip route replace default via "${router%% *}" dev "$interface"
        {
            [ -n "$domain" ] && echo "search $domain"
            for server in $dns; do echo "nameserver $server"; done
        } >"$VM_DIR/resolv.conf"
    fi
    # Option 121: the default route is among them, and the option for the router does not count.
    ip route flush dev "$interface" proto static
    set -- $staticroutes
    while [ $# -ge 2 ]; do
        if [ "$1" != 0.0.0.0/0 ]; then
            ip route replace "$1" via "$2" dev "$interface" proto static
        elif [ "$interface" = "$VM_DEFAULT" ]; then
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

/// The namespace of a VM.
pub fn namespace(settings: &HostSettings, vm: VmInstanceId) -> String {
    format!("{}-vm-{}", settings.prefix, vm.0.tail())
}

fn directory(state_dir: &Path, vm: VmInstanceId) -> PathBuf {
    state_dir.join("vms").join(vm.to_string())
}

/// Writes the script of the DHCP clients, one for all VMs.
pub fn write_script(kernel: &dyn Kernel, settings: &HostSettings) -> Result<(), KernelError> {
    kernel.write(&settings.state_dir.join(SCRIPT), SCRIPT_TEXT.as_bytes(), 0o755)
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
    let runs = |held: &MadeVm| held.config == *config && kernel.alive(&held.process);
    if made.as_ref().is_some_and(runs) && site.namespaces.contains(&name) {
        plugs::ensure(site, &name, &config.plugs, false)?;
        return Ok(());
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
    let held = MadeVm { config: config.clone(), process, addresses: BTreeMap::new() };
    describe(kernel, site.settings, vm, &held).map_err(|error| error.to_string())?;
    *made = Some(held);
    Ok(())
}

fn start(site: &Site<'_>, vm: VmInstanceId, config: &VmConfig) -> Result<ProcessId, KernelError> {
    let kernel = site.kernel;
    let files = directory(&site.settings.state_dir, vm);
    let (resolv, hosts) = (files.join("resolv.conf"), files.join("hosts"));
    kernel.write(&resolv, b"", 0o644)?;
    kernel.write(&hosts, format!("127.0.0.1 localhost\n127.0.1.1 {}\n", config.hostname).as_bytes(), 0o644)?;
    let init = files.join("init.sh");
    kernel.write(&init, init_text(&site.settings.state_dir, config).as_bytes(), 0o755)?;
    let over = [(resolv, PathBuf::from("/etc/resolv.conf")), (hosts, PathBuf::from("/etc/hosts"))];
    let house = House {
        namespace: namespace(site.settings, vm),
        private_run: false,
        files: over.into_iter().filter(|(_, over)| kernel.exists(over)).collect(),
        hostname: Some(config.hostname.clone()),
    };
    let env = BTreeMap::from([
        ("VM_DIR".to_string(), files.display().to_string()),
        ("VM_DEFAULT".to_string(), config.default_plug.clone()),
    ]);
    let log = files.join("vm.log");
    let args = vec![init.display().to_string()];
    kernel.spawn(&Spawn { program: PathBuf::from("/bin/sh"), args, env, log, house: Some(house) })
}

/// The first process of a VM: a DHCP client for each interface, and at last the one of the default interface.
fn init_text(state_dir: &Path, config: &VmConfig) -> String {
    let client = |interface: &str| {
        format!(
            "udhcpc -f -i {interface} -x hostname:{} -s '{}' -O mtu -O staticroutes -t 1000000 -T 1 -A 1",
            config.hostname,
            state_dir.join(SCRIPT).display()
        )
    };
    let mut text = String::from("#!/bin/sh\n");
    for plug in config.plugs.iter().filter(|plug| plug.name != config.default_plug) {
        let _ = writeln!(text, "{} &", client(&plug.name));
    }
    let last = if config.plugs.is_empty() { "sleep infinity".to_string() } else { client(&config.default_plug) };
    let _ = writeln!(text, "exec {last}");
    text
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

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::PlugConfig;

    #[test]
    fn the_default_interface_is_served_by_the_process_that_stays() {
        let plug = |name: &str| PlugConfig {
            name: name.to_string(),
            internal_name: format!("vnic1.{name}"),
            mac: "fa:00:00:00:00:01".parse().unwrap(),
            bridge: "br_eth0".to_string(),
            mtu: 1500,
        };
        let config = VmConfig {
            name: "vm1".to_string(),
            hostname: "vm1".to_string(),
            generation: 1,
            plugs: vec![plug("eth0"), plug("eth1")],
            default_plug: "eth0".to_string(),
        };
        let text = init_text(Path::new("/s"), &config);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().nth(1).unwrap().contains("-i eth1") && text.lines().nth(1).unwrap().ends_with(" &"));
        assert!(text.lines().nth(2).unwrap().starts_with("exec udhcpc -f -i eth0 -x hostname:vm1 "));
    }
}
