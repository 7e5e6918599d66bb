//! What can be asked of the global configuration.

use crate::{Check::*, messages};

messages! {
    /// Changes a global configuration value.
    Command UpdateGlobalConfig "PUT" "/global-configurations/{category}/{name}/actions" => "globalConfig" for Administrator {
        /// `virtualRouter`, `applianceVm` …
        category: String = Text(255),
        /// `command.parallelismDegree` …
        name: String = Text(255),
        /// The value, as text.
        value: String = FreeText(2048),
    }
    /// Gives every entry of the global configuration its default again. What resources have of their own stays.
    Command ResetGlobalConfig "PUT" "/global-configurations/actions" => "" for Administrator {}
    /// The values that an entry may have: the words, or the numbers between which it lies.
    Read GetGlobalConfigOptions "GET" "/global-configurations/{category}/{name}" => "" for Administrator {
        /// `virtualRouter`, `applianceVm` …
        category: String = Text(255),
        /// `command.parallelismDegree` …
        name: String = Text(255),
    }
}

/// One entry of the global configuration.
#[derive(Clone, Copy, Debug)]
pub struct ConfigEntry {
    /// Its category.
    pub category: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its value unless changed.
    pub default: &'static str,
    /// What values are right.
    pub check: crate::Check,
    /// What it does, with its unit.
    pub description: &'static str,
    /// The types of resources that may have a value of their own, the nearest first: what a host has not its cluster
    /// may have, and then its zone.
    pub bindable: &'static [&'static str],
}

const fn entry(
    category: &'static str,
    name: &'static str,
    default: &'static str,
    check: crate::Check,
    description: &'static str,
) -> ConfigEntry {
    ConfigEntry { category, name, default, check, description, bindable: &[] }
}

impl ConfigEntry {
    /// The same, but resources of these types may have a value of their own.
    const fn of(self, bindable: &'static [&'static str]) -> ConfigEntry {
        ConfigEntry { bindable, ..self }
    }
}

/// What is configured for a host, for all of a cluster, or for all of a zone.
const HOSTS: &[&str] = &["HostVO", "ClusterVO", "ZoneVO"];
const ROUTERS: &[&str] = &["VirtualRouterVmVO"];
const VMS: &[&str] = &["VmInstanceVO"];

/// Every entry that the system reads, by the names of ZStack.
pub const GLOBAL_CONFIGS: &[ConfigEntry] = &[
    entry(
        "virtualRouter",
        "agent.deployOnStart",
        "false",
        Bool,
        "put this server's agent in place whenever a router starts or reboots",
    ),
    entry(
        "applianceVm",
        "agent.deployOnStart",
        "false",
        Bool,
        "the same for the appliance's agent, which is the same program",
    ),
    entry(
        "virtualRouter",
        "command.parallelismDegree",
        "100",
        Int(1, 10_000),
        "requests to one router's agent at a time, where no tag `commandsParallelismDegree` says it",
    )
    .of(ROUTERS),
    entry(
        "applianceVm",
        "connect.timeout",
        "300",
        Int(1, 86_400),
        "seconds within which a router that starts or stops must have done so",
    )
    .of(ROUTERS),
    entry(
        "applianceVm",
        "deletion.timeout",
        "3600",
        Int(1, 86_400),
        "seconds after which a router that is being destroyed is gone, though its host has not said so",
    )
    .of(ROUTERS),
    entry(
        "virtualRouter",
        "vrouter.echoTimeout",
        "120",
        Int(1, 86_400),
        "seconds within which an agent that was restarted must answer",
    )
    .of(ROUTERS),
    entry("applianceVm", "auto.rollback", "true", Bool, "destroy a router whose creation failed"),
    entry("virtualRouter", "ping.interval", "15", Int(1, 3600), "seconds between pings of a router's agent")
        .of(ROUTERS),
    entry(
        "virtualRouter",
        "drift.policy",
        "notify",
        Enum(&["off", "notify", "heal"]),
        "what becomes of a router that a ping finds other than its configuration: nothing, an event that names what \
         differs, or an event and its configuration applied again",
    )
    .of(ROUTERS),
    entry("virtualRouter", "ping.parallelismDegree", "60", Int(1, 10_000), "pings at a time"),
    entry("identity", "session.timeout", "7200", Int(1, 31_536_000), "seconds that a session lasts"),
    entry(
        "identity",
        "session.maxConcurrent",
        "500",
        Int(1, 10_000),
        "sessions that an account has at a time: one more ends the one that would expire first",
    ),
    entry(
        "vm",
        "cleanTraffic",
        "true",
        Bool,
        "drop what a VM sends in the name of another MAC or IP address, and as a DHCP server or router",
    )
    .of(VMS),
    entry("host", "ping.interval", "60", Int(1, 3600), "seconds between pings of a host's agent").of(HOSTS),
    entry(
        "host",
        "drift.policy",
        "heal",
        Enum(&["off", "notify", "heal"]),
        "the same for what filters at the nics of a host's VMs: security groups and anti-spoofing",
    )
    .of(HOSTS),
    entry("host", "ping.maxFailure", "3", Int(1, 100), "failed pings after which a host counts as Disconnected")
        .of(HOSTS),
    entry("host", "ping.timeout", "10", Int(1, 3600), "seconds within which a host's agent must answer a ping")
        .of(HOSTS),
    entry("host", "ping.parallelismDegree", "100", Int(1, 10_000), "pings of hosts at a time"),
    entry(
        "host",
        "connection.autoReconnectOnError",
        "true",
        Bool,
        "try a Disconnected host every second; otherwise it waits for ReconnectHost",
    )
    .of(HOSTS),
    entry("host", "reconnectAllOnBoot", "true", Bool, "connect every host anew when the server starts"),
    entry(
        "l2Network",
        "deleteL2.bridge",
        "true",
        Bool,
        "remove bridges from the hosts when their L2 network is detached or deleted; otherwise they stay as they are",
    ),
    entry(
        "l3Network",
        "ipAllocateStrategy",
        "RandomIpAllocatorStrategy",
        Enum(&["RandomIpAllocatorStrategy", "FirstAvailableIpAllocatorStrategy", "AscDelayRecycleIpAllocatorStrategy"]),
        "how a free address is chosen: at random, the lowest, or ascending, so that a freed one rests for a round",
    )
    .of(&["L3NetworkVO"]),
    entry(
        "l3Network",
        "ipv6AllocateStrategy",
        "RandomIpv6AllocatorStrategy",
        Enum(&["RandomIpv6AllocatorStrategy", "FirstAvailableIpv6AllocatorStrategy"]),
        "how a free IPv6 address is chosen where hosts ask for it: at random, or the lowest",
    )
    .of(&["L3NetworkVO"]),
    entry(
        "eip",
        "snatInboundTraffic",
        "false",
        Bool,
        "let what comes in at EIPs carry the router's own address: for VMs whose way out is another router",
    ),
    entry(
        "portForwarding",
        "snatInboundTraffic",
        "false",
        Bool,
        "let what comes in by port forwarding rules carry the router's own address: for VMs whose way out is another router",
    ),
    entry(
        "vm",
        "deletionPolicy",
        "Direct",
        Enum(&["Direct", "Delay"]),
        "whether a VM that is destroyed is forgotten at once, or can be recovered until it is expunged",
    ),
    entry("vm", "expungePeriod", "86400", Int(1, 31_536_000), "seconds after which a destroyed VM is expunged"),
    entry("vm", "expungeInterval", "3600", Int(1, 86_400), "seconds between looks for destroyed VMs to expunge"),
];

/// The entry `name` of `category`.
pub fn config_entry(category: &str, name: &str) -> Option<&'static ConfigEntry> {
    GLOBAL_CONFIGS.iter().find(|entry| entry.category == category && entry.name == name)
}
