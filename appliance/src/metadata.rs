//! The metadata section: what VMs on guest networks with DHCP are told of themselves, each of itself alone.

use crate::{
    Push,
    router::{Client, RouterFold},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, net::Ipv4Addr};
use switchback_events::{Mac, NetworkServiceType, NicId, SealedSecret, VmInstanceId};

/// TCP port at which a router's agent tells them: what comes for port 80 of [`METADATA_IP`], or of the router, gets there.
pub const METADATA_PORT: u16 = 8775;

/// The ports that lead there: the one of metadata, and the one where CloudStack's routers keep passwords. What is asked says
/// which of both is meant.
pub const ASKED_PORTS: [u16; 2] = [80, 8080];

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
    /// Which password waits for it, by [`password_digest`]: the text travels beside the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// The password of somebody in a VM. Secret: it is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// A text that is to be kept secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the VM alone.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(secret)")
    }
}

/// What a password is named by where it is not told: of its sealed form, which says nothing of it and is never the same.
pub fn password_digest(sealed: &SealedSecret) -> String {
    crate::hex(&Sha256::digest(sealed.bytes()))
}

/// Puts the passwords that the metadata of a push names beside it, when it is about to leave for an agent.
pub fn enclose_passwords(push: &mut Push, text_of: impl Fn(VmInstanceId, &str) -> Option<Password>) {
    let Some(section) = push.sections.get(MetadataConfig::SECTION) else { return };
    let whole = section.body.iter().filter_map(|body| body.get("clients")?.as_array()).flatten();
    let changed = section.changes.iter().flat_map(|changes| changes.added.iter().map(|(_, client)| client));
    for client in whole.chain(changed) {
        let vm = client.get("vm").and_then(|vm| vm.as_str()?.parse().ok()).map(VmInstanceId);
        let digest = client.get("password").and_then(|digest| digest.as_str());
        if let (Some(vm), Some(digest)) = (vm, digest)
            && let Some(text) = text_of(vm, digest)
        {
            push.passwords.insert(vm, text);
        }
    }
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
    let mut owners: BTreeMap<NicId, (VmInstanceId, &Client)> = BTreeMap::new();
    for (vm, client) in &router.clients {
        owners.extend(client.nics.iter().map(|nic| (nic.nic, (*vm, client))));
    }
    let mut config = MetadataConfig::default();
    for (own, network) in router.guests() {
        if own.ipv4().is_none() || !network.services.contains(&NetworkServiceType::DHCP) {
            continue;
        }
        for (hostname, nic) in router.served(own.l3_network) {
            let (Some(address), Some((vm, client))) = (nic.ipv4(), owners.get(&nic.nic)) else { continue };
            config.clients.push(MetadataClient {
                ip: address.ip,
                mac: nic.mac,
                vm: *vm,
                hostname,
                domain: network.domain.clone(),
                userdata: client.userdata.clone(),
                password: client.password.clone(),
            });
        }
    }
    config.clients.sort();
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SectionPush,
        changes::between,
        digest,
        samples::{Log, network, nic, router, vm},
    };
    use switchback_events::{Id, L3NetworkId, Nic, VmInstanceEvent};

    fn fold(log: &Log) -> Vec<MetadataClient> {
        let mut fold = RouterFold::default();
        log.events.iter().for_each(|event| fold.apply(event));
        fold.config().unwrap().sections.metadata.clients
    }

    #[test]
    fn a_password_is_named_in_the_section_and_travels_beside_it() {
        let mut log = Log::default();
        network(&mut log, "guest", &[NetworkServiceType::DHCP]);
        log.add("router", router(vec![nic("guest", [10, 0, 0, 1], 1, Nic::GUEST)]));
        let vms = ["a", "b", "c", "d", "e", "f", "g", "h"];
        for (vm, last) in vms.into_iter().zip(5..) {
            log.add(vm, self::vm(vm, vec![nic("guest", [10, 0, 0, last], last, 0)]));
        }
        let sealed = SealedSecret::new([7; 40]);
        let waits = |password| VmInstanceEvent::PasswordChanged {
            password,
            l3_networks: vec![L3NetworkId(Id::of_name("guest"))],
        };
        let before = MetadataConfig { clients: fold(&log) };
        log.add("a", waits(Some(sealed.clone())));
        let after = MetadataConfig { clients: fold(&log) };
        let named = |config: &MetadataConfig| -> Vec<String> {
            config.clients.iter().filter_map(|client| client.password.clone()).collect()
        };
        assert_eq!(named(&after), [password_digest(&sealed)]);

        let (a, word) = (VmInstanceId(Id::of_name("a")), Password::new("sesame"));
        let changed = SectionPush {
            digest: digest(&after),
            body: None,
            changes: Some(between(&before, &digest(&before), &after).unwrap()),
        };
        for section in [SectionPush::whole(&after), changed] {
            let sections = BTreeMap::from([(MetadataConfig::SECTION.to_string(), section.clone())]);
            let mut push = Push { id: Id::NIL, revision: 1, epoch: 1, sections, passwords: BTreeMap::new() };
            enclose_passwords(&mut push, |vm, digest| {
                (vm == a && digest == password_digest(&sealed)).then(|| word.clone())
            });
            assert_eq!(push.passwords, BTreeMap::from([(a, word.clone())]));
            assert_eq!(push.sections[MetadataConfig::SECTION], section);
            assert!(!format!("{push:?}").contains("sesame"));
            let travelled: Push = serde_json::from_str(&serde_json::to_string(&push).unwrap()).unwrap();
            assert_eq!(travelled, push);
        }
        log.add("a", waits(None));
        assert_eq!(named(&MetadataConfig { clients: fold(&log) }), [""; 0]);
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
