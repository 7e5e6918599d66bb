//! Metadata: what a VM is told of itself, in the paths that cloud-init knows from EC2. Who asks is known by the address that
//! the question comes from and by the hardware address that the router's neighbour table has for it.
//!
//! **Invariant:** nobody is told anything of another VM: an address with another hardware address than the VM's is a
//! stranger's.

use super::nftables::Part;
use crate::kernel::Kernel;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{fmt::Write, net::Ipv4Addr, path::Path};
use switchback_appliance::{ASKED_PORTS, InterfacesConfig, METADATA_IP, METADATA_PORT, MetadataClient, MetadataConfig};
use switchback_events::{Mac, Nic};

/// What the names of its chains begin with.
pub const PREFIX: &str = "metadata_";

/// Where the kernel shows which hardware address an address has.
pub(crate) const NEIGHBOURS: &str = "/proc/net/arp";

/// The versions of the paths: all are the same.
const VERSIONS: [&str; 4] = ["1.0", "2009-04-04", "2016-09-02", "latest"];

/// What stands below `meta-data/`.
const ENTRIES: [&str; 6] = ["hostname", "instance-id", "local-hostname", "local-ipv4", "mac", "public-keys"];

/// Its part of the router's table: questions to its ports get to the agent's own. None while nobody is told anything.
pub fn render(config: &MetadataConfig, interfaces: &InterfacesConfig) -> Option<Part> {
    let guests = || interfaces.nics.iter().filter(|nic| nic.is(Nic::GUEST)).filter_map(|nic| Some((nic, nic.ipv4()?)));
    if config.is_empty() || guests().next().is_none() {
        return None;
    }
    let [first, second] = ASKED_PORTS;
    let mut chains =
        format!("  chain {PREFIX}in {{\n    type nat hook prerouting priority dstnat - 5; policy accept;\n");
    for (nic, own) in guests() {
        // What comes for a public address is for the services that others reach there.
        let addresses = match nic.is(Nic::PUBLIC) {
            true => METADATA_IP.to_string(),
            false => format!("{{ {METADATA_IP}, {} }}", own.addr()),
        };
        let _ = writeln!(
            chains,
            "    iifname \"{}\" ip daddr {addresses} tcp dport {{ {first}, {second} }} redirect to :{METADATA_PORT}",
            nic.name
        );
    }
    chains.push_str("  }\n");
    Some(Part { section: MetadataConfig::SECTION, sets: vec![], chains })
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// This.
    Body(Vec<u8>),
    /// There is no such thing of this VM.
    Nothing,
    /// Nobody knows who asks.
    Stranger,
    /// There is one, and it is not here yet.
    NotYet,
}

/// Answers the question for `path` that came from `ip`.
pub fn answer(kernel: &dyn Kernel, config: &MetadataConfig, ip: Ipv4Addr, path: &str) -> Answer {
    match client(kernel, config, ip) {
        Some(client) => of(client, path).map_or(Answer::Nothing, Answer::Body),
        None => Answer::Stranger,
    }
}

/// The nic that a question from `ip` comes from.
pub fn client<'a>(kernel: &dyn Kernel, config: &'a MetadataConfig, ip: Ipv4Addr) -> Option<&'a MetadataClient> {
    let client = config.clients.iter().find(|client| client.ip == ip)?;
    let neighbours = kernel.read(Path::new(NEIGHBOURS)).ok().flatten().unwrap_or_default();
    (hardware_address(&neighbours, ip) == Some(client.mac)).then_some(client)
}

/// The hardware address that the table has for `ip`. One that is not complete has none.
fn hardware_address(neighbours: &str, ip: Ipv4Addr) -> Option<Mac> {
    let ip = ip.to_string();
    let rows = neighbours.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let own = rows.into_iter().find(|row| row.len() >= 4 && row[0] == ip && row[2] != "0x0");
    own?[3].parse().ok()
}

fn of(client: &MetadataClient, path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let text = |text: String| Some(text.into_bytes());
    let Some(version) = parts.next() else { return text(VERSIONS.join("\n")) };
    if !VERSIONS.contains(&version) {
        return None;
    }
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) if client.userdata.is_some() => text("meta-data/\nuser-data".to_string()),
        (None, ..) => text("meta-data/".to_string()),
        (Some("user-data"), None, _) => STANDARD.decode(client.userdata.as_ref()?).ok(),
        (Some("meta-data"), None, _) => text(ENTRIES.join("\n")),
        (Some("meta-data"), Some(entry), None) => match entry {
            "hostname" | "local-hostname" => text(match &client.domain {
                Some(domain) => format!("{}.{domain}", client.hostname),
                None => client.hostname.clone(),
            }),
            "instance-id" => text(client.vm.to_string()),
            "local-ipv4" => text(client.ip.to_string()),
            "mac" => text(client.mac.to_string()),
            // There are none; who asks for the list takes its absence for a fault.
            "public-keys" => text(String::new()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchback_appliance::RouterNic;
    use switchback_events::{Id, L3NetworkId, VmInstanceId};

    fn client() -> MetadataClient {
        MetadataClient {
            ip: Ipv4Addr::new(10, 0, 0, 5),
            mac: Mac([0xfa, 0, 0, 0, 0, 5]),
            vm: VmInstanceId(Id::of_name("vm")),
            hostname: "web".to_string(),
            domain: Some("cloud.example".to_string()),
            userdata: Some(STANDARD.encode("#!/bin/sh\n")),
            password: None,
        }
    }

    #[test]
    fn each_path_says_what_it_does_in_ec2() {
        let said = |client: &MetadataClient, path: &str| of(client, path).map(|body| String::from_utf8(body).unwrap());
        let vm = Id::of_name("vm").to_string();
        for (path, expected) in [
            ("/latest/user-data", "#!/bin/sh\n"),
            ("/2009-04-04/user-data", "#!/bin/sh\n"),
            ("/latest/", "meta-data/\nuser-data"),
            ("/latest/meta-data/instance-id", vm.as_str()),
            ("/latest/meta-data/local-ipv4", "10.0.0.5"),
            ("/latest/meta-data/mac", "fa:00:00:00:00:05"),
            ("//latest//meta-data//hostname", "web.cloud.example"),
        ] {
            assert_eq!(said(&client(), path).as_deref(), Some(expected), "{path}");
        }
        assert!(said(&client(), "/").unwrap().contains("latest"));
        assert!(said(&client(), "/latest/meta-data/").unwrap().contains("instance-id"));
        let bare = MetadataClient { userdata: None, domain: None, ..client() };
        assert_eq!(said(&bare, "/latest").as_deref(), Some("meta-data/"));
        assert_eq!(said(&bare, "/latest/meta-data/local-hostname").as_deref(), Some("web"));
        for path in ["/latest/user-data", "/other", "/latest/meta-data/x", "/latest/user-data/x", "/latest/../x"] {
            assert_eq!(said(&bare, path), None, "{path}");
        }
        let broken = MetadataClient { userdata: Some("%".to_string()), ..client() };
        assert_eq!(said(&broken, "/latest/user-data"), None);
    }

    #[test]
    fn guests_reach_it_and_a_public_address_stays_for_other_services() {
        let nic = |name: &str, last: u8, meta_data| RouterNic {
            name: name.to_string(),
            mac: Mac([0xfa, 0, 0, 0, 0, last]),
            addresses: vec![format!("10.0.{last}.1/24").parse().unwrap()],
            meta_data,
            l3_network: L3NetworkId(Id::of_name(name)),
            mtu: 1500,
        };
        let nics =
            vec![nic("eth0", 0, Nic::PUBLIC), nic("eth1", 1, Nic::GUEST), nic("eth2", 2, Nic::GUEST | Nic::PUBLIC)];
        let interfaces = InterfacesConfig { nics, ..InterfacesConfig::default() };
        assert_eq!(render(&MetadataConfig::default(), &interfaces), None);
        let config = MetadataConfig { clients: vec![client()] };
        assert_eq!(render(&config, &InterfacesConfig::default()), None);
        let expected = "  chain metadata_in {
    type nat hook prerouting priority dstnat - 5; policy accept;
    iifname \"eth1\" ip daddr { 169.254.169.254, 10.0.1.1 } tcp dport { 80, 8080 } redirect to :8775
    iifname \"eth2\" ip daddr 169.254.169.254 tcp dport { 80, 8080 } redirect to :8775
  }
";
        assert_eq!(render(&config, &interfaces).unwrap().text(), expected);
    }

    #[test]
    fn an_address_without_its_hardware_address_is_a_strangers() {
        let table = |flags: &str, mac: &str| {
            format!(
                "IP address       HW type     Flags       HW address            Mask     Device\n10.0.0.5         0x1         {flags}         {mac}     *        eth2\n"
            )
        };
        let ip = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(hardware_address(&table("0x2", "fa:00:00:00:00:05"), ip), Some(client().mac));
        assert_eq!(hardware_address(&table("0x0", "fa:00:00:00:00:05"), ip), None);
        assert_eq!(hardware_address(&table("0x2", "x"), ip), None);
        assert_eq!(hardware_address(&table("0x2", "fa:00:00:00:00:05"), Ipv4Addr::new(10, 0, 0, 50)), None);
        assert_eq!(hardware_address("", ip), None);
    }
}
