//! What can be asked of tags, and the one list of the system tags that there are.

use crate::{Check::*, messages};
use switchback_events::{Id, StreamKind, TagId};

messages! {
    /// Puts a system tag on a resource: one that the system reads, with a pattern.
    Command CreateSystemTag "POST" "/system-tags" => "systemTag" for Account {
        /// `InstanceOfferingVO`, `VmInstanceVO`, `L3NetworkVO` …
        resource_type: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The tag: `guestL3Network::{uuid}`.
        tag: String = Text(2048),
    }
    /// Puts several system tags on a resource, all of them or none.
    Command CreateSystemTags "POST" "/system-tags/{resourceUuid}/tags" => "systemTag" for Account {
        /// `InstanceOfferingVO`, `VmInstanceVO`, `L3NetworkVO` …
        resource_type: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The tags.
        tags: Vec<String> = List(&Text(2048)),
    }
    /// Changes the values of a system tag; its name stays.
    Command UpdateSystemTag "PUT" "/system-tags/{uuid}/actions" => "systemTag" for Account {
        /// The tag.
        uuid: TagId = Uuid,
        /// What it shall be: `commandsParallelismDegree::200`.
        tag: String = Text(2048),
    }
    /// Puts a user tag on a resource.
    Command CreateUserTag "POST" "/user-tags" => "userTag" for Account {
        /// `InstanceOfferingVO`, `VmInstanceVO`, `L3NetworkVO` …
        resource_type: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The tag.
        tag: String = Text(2048),
    }
    /// Deletes a tag. One that is not there is a success; an inherent one, which the system has put there, stays.
    Command DeleteTag "DELETE" "/tags/{uuid}" => "" for Account {
        /// The tag.
        uuid: TagId = Uuid,
    }
}

/// The kinds of resource that carry tags and configuration of their own, by ZStack's names.
pub const RESOURCE_TYPES: &[(&str, StreamKind)] = &[
    ("ZoneVO", StreamKind::Zone),
    ("ClusterVO", StreamKind::Cluster),
    ("HostVO", StreamKind::Host),
    ("ImageVO", StreamKind::Image),
    ("L2NetworkVO", StreamKind::L2Network),
    ("L3NetworkVO", StreamKind::L3Network),
    ("IpRangeVO", StreamKind::IpRange),
    ("InstanceOfferingVO", StreamKind::Offering),
    ("VmInstanceVO", StreamKind::VmInstance),
    ("LoadBalancerVO", StreamKind::LoadBalancer),
    ("CertificateVO", StreamKind::Certificate),
    ("AccessControlListVO", StreamKind::AccessControlList),
    ("VipVO", StreamKind::Vip),
    ("EipVO", StreamKind::Eip),
    ("PortForwardingRuleVO", StreamKind::PortForwarding),
    ("SecurityGroupVO", StreamKind::SecurityGroup),
];

/// What carries a system tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearer {
    /// An offering for routers.
    RouterOffering,
    /// A virtual router.
    Router,
    /// A user's VM.
    Vm,
    /// An L3 network.
    L3Network,
}

impl Bearer {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Bearer::RouterOffering => "virtual router offering",
            Bearer::Router => "virtual router",
            Bearer::Vm => "VM",
            Bearer::L3Network => "L3 network",
        }
    }
}

/// What stands in the place of a word of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagWord {
    /// The uuid of an L3 network.
    L3Network,
    /// The uuid of a virtual router offering.
    RouterOffering,
    /// A whole number in a closed range.
    Number(u32, u32),
    /// A DNS label.
    HostName,
    /// An IP address; in an IPv6 address `--` stands for `::`.
    Address,
    /// A unicast MAC address.
    Mac,
    /// Base64 of anything.
    Base64,
}

impl TagWord {
    /// In words: what would be right.
    pub fn right(self) -> String {
        match self {
            TagWord::L3Network => "uuid of an L3 network".to_string(),
            TagWord::RouterOffering => "uuid of a virtual router offering".to_string(),
            TagWord::Number(min, max) => format!("a number from {min} to {max}"),
            TagWord::HostName => "a host name: 1 to 63 letters, digits and inner hyphens".to_string(),
            TagWord::Address => "IP address, in IPv6 with -- for ::".to_string(),
            TagWord::Mac => "unicast MAC address".to_string(),
            TagWord::Base64 => "base64 with padding".to_string(),
        }
    }
}

/// How many tags of one name a resource carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagNumber {
    /// One.
    One,
    /// One for each value of the first word.
    OneEach,
    /// One for each value of the first word and each family of the address in the second.
    OneEachFamily,
    /// Any number.
    Many,
}

/// How a tag comes to its resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagOrigin {
    /// With the resource, or later by the commands for tags.
    Anyhow,
    /// With the resource; later these commands change what it says.
    Creation(&'static str),
    /// By these commands alone: it is their record.
    Commands(&'static str),
}

/// A system tag: `name::{word}::{word}`.
#[derive(Debug)]
pub struct SystemTag {
    /// Its name.
    pub name: &'static str,
    /// Its words behind the name.
    pub words: &'static [(&'static str, TagWord)],
    /// What carries it.
    pub on: &'static [Bearer],
    /// How many a resource carries.
    pub number: TagNumber,
    /// How it comes to its resource.
    pub origin: TagOrigin,
    /// What it does.
    pub description: &'static str,
}

impl SystemTag {
    /// `guestL3Network::{l3NetworkUuid}`.
    pub fn pattern(&self) -> String {
        self.words.iter().fold(self.name.to_string(), |pattern, (word, _)| format!("{pattern}::{{{word}}}"))
    }

    /// The pattern with what its words stand for.
    pub fn right(&self) -> String {
        self.words.iter().fold(self.name.to_string(), |right, (_, word)| format!("{right}::{{{}}}", word.right()))
    }
}

/// Every system tag that is read by something.
pub const SYSTEM_TAGS: &[SystemTag] = &[
    SystemTag {
        name: "guestL3Network",
        words: &[("l3NetworkUuid", TagWord::L3Network)],
        on: &[Bearer::RouterOffering],
        number: TagNumber::Many,
        origin: TagOrigin::Anyhow,
        description: "routers of this network are made of this offering, before all others",
    },
    SystemTag {
        name: "virtualRouterOffering",
        words: &[("offeringUuid", TagWord::RouterOffering)],
        on: &[Bearer::L3Network],
        number: TagNumber::One,
        origin: TagOrigin::Anyhow,
        description: "routers of this network are made of that offering, unless an offering claims the network",
    },
    SystemTag {
        name: "commandsParallelismDegree",
        words: &[("number", TagWord::Number(1, 10_000))],
        on: &[Bearer::RouterOffering, Bearer::Router],
        number: TagNumber::One,
        origin: TagOrigin::Anyhow,
        description: "requests to a router's agent at a time; a router inherits it from its offering when it is made",
    },
    SystemTag {
        name: "hostname",
        words: &[("name", TagWord::HostName)],
        on: &[Bearer::Vm],
        number: TagNumber::One,
        origin: TagOrigin::Creation("SetVmHostname"),
        description: "the VM's name in DNS and DHCP, which no other VM of its networks has",
    },
    SystemTag {
        name: "staticIp",
        words: &[("l3NetworkUuid", TagWord::L3Network), ("ip", TagWord::Address)],
        on: &[Bearer::Vm],
        number: TagNumber::OneEachFamily,
        origin: TagOrigin::Creation("SetVmStaticIp"),
        description: "the VM's address on that network",
    },
    SystemTag {
        name: "customMac",
        words: &[("l3NetworkUuid", TagWord::L3Network), ("mac", TagWord::Mac)],
        on: &[Bearer::Vm],
        number: TagNumber::OneEach,
        origin: TagOrigin::Creation("AttachL3NetworkToVm"),
        description: "the hardware address of the VM's nic on that network",
    },
    SystemTag {
        name: "userdata",
        words: &[("userdata", TagWord::Base64)],
        on: &[Bearer::Vm],
        number: TagNumber::One,
        origin: TagOrigin::Anyhow,
        description: "what the VM's programs get from its router as `user-data`, such as a script of cloud-init",
    },
    SystemTag {
        name: "routerInterfaceIp",
        words: &[("ip", TagWord::Address)],
        on: &[Bearer::L3Network],
        number: TagNumber::One,
        origin: TagOrigin::Commands("SetL3NetworkRouterInterfaceIp"),
        description: "the address that routers take on the network when they are made; without it the gateway's",
    },
];

/// System tags of ZStack that nothing here reads yet.
pub const LATER_TAGS: &[&str] =
    &["role", "dedicatedRole", "staticVip", "haUuid", "networkservices", "flatNetwork", "separateVirtualRouterVm"];

/// The system tag `name`.
pub fn system_tag(name: &str) -> Option<&'static SystemTag> {
    SYSTEM_TAGS.iter().find(|tag| tag.name == name)
}
