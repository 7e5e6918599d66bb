//! The metadata section: what VMs on guest networks with DHCP are told of themselves, each of itself alone.

use crate::router::RouterFold;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};
use switchback_events::{Mac, NetworkServiceType, NicId, VmInstanceId};

/// TCP port at which a router's agent tells them: what comes for port 80 of [`METADATA_IP`], or of the router, gets there.
pub const METADATA_PORT: u16 = 8775;

/// The address that VMs ask, in every cloud.
pub const METADATA_IP: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What VMs are told of themselves.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataConfig {
    /// By address.
    pub clients: Vec<MetadataClient>,
}

/// One nic of a VM, and what is told to who asks from it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataClient {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its hardware address: the same address with another one is somebody else's.
    pub mac: Mac,
    /// The VM.
    pub vm: VmInstanceId,
    /// Its name in DNS and DHCP.
    pub hostname: String,
    /// The domain of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// In base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userdata: Option<String>,
}

impl MetadataConfig {
    /// Its name among the sections.
    pub const SECTION: &str = "metadata";

    /// Nobody is told anything.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// The section for what is known of a router.
pub(crate) fn fold(router: &RouterFold) -> MetadataConfig {
    let mut owners: BTreeMap<NicId, (VmInstanceId, &Option<String>)> = BTreeMap::new();
    for (vm, client) in &router.clients {
        owners.extend(client.nics.iter().map(|nic| (nic.nic, (*vm, &client.userdata))));
    }
    let mut config = MetadataConfig::default();
    for (own, network) in router.guests() {
        if own.ipv4().is_none() || !network.services.contains(&NetworkServiceType::DHCP) {
            continue;
        }
        for (hostname, nic) in router.served(own.l3_network) {
            let (Some(address), Some((vm, userdata))) = (nic.ipv4(), owners.get(&nic.nic)) else { continue };
            config.clients.push(MetadataClient {
                ip: address.ip,
                mac: nic.mac,
                vm: *vm,
                hostname,
                domain: network.domain.clone(),
                userdata: (*userdata).clone(),
            });
        }
    }
    config.clients.sort();
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Log, network, nic, router, vm};
    use switchback_events::{Id, L3NetworkId, Nic, VmInstanceEvent};

    fn fold(log: &Log) -> Vec<MetadataClient> {
        let mut fold = RouterFold::default();
        log.events.iter().for_each(|event| fold.apply(event));
        fold.config().unwrap().sections.metadata.clients
    }

    #[test]
    fn each_vm_that_runs_on_a_network_with_dhcp_is_told_what_its_tag_says() {
        let told = |userdata: Option<&str>| VmInstanceEvent::UserdataChanged {
            userdata: userdata.map(str::to_string),
            l3_networks: vec![L3NetworkId(Id::of_name("guest"))],
        };
        let scene = |services: &[NetworkServiceType]| {
            let mut log = Log::default();
            network(&mut log, "public", &[]);
            network(&mut log, "guest", services);
            let nics =
                vec![nic("public", [203, 0, 113, 9], 0, Nic::PUBLIC), nic("guest", [10, 0, 0, 1], 1, Nic::GUEST)];
            log.add("router", router(nics));
            log.add("web", vm("web", vec![nic("guest", [10, 0, 0, 5], 0, 0)]));
            log.add("web", told(Some("eA==")));
            log.add("db", vm("db", vec![nic("guest", [10, 0, 0, 6], 0, 0)]));
            log
        };
        assert_eq!(fold(&scene(&[NetworkServiceType::DNS])), []);
        let mut log = scene(&[NetworkServiceType::DHCP]);
        let said = |log: &Log| -> Vec<(String, Option<String>)> {
            fold(log).into_iter().map(|client| (client.hostname, client.userdata)).collect()
        };
        assert_eq!(said(&log), [("web".to_string(), Some("eA==".to_string())), ("db".to_string(), None)]);
        assert_eq!(fold(&log)[0].vm, VmInstanceId(Id::of_name("web")));
        log.add("web", told(None));
        assert_eq!(said(&log)[0], ("web".to_string(), None));
        log.add("web", VmInstanceEvent::Stopped { l3_networks: vec![] });
        assert_eq!(said(&log), [("db".to_string(), None)]);
    }
}
