//! What can be read besides inventories.

use crate::{Check::*, messages};
use std::net::{IpAddr, Ipv4Addr};
use switchback_events::{ClusterId, Id, IpRangeId, L2NetworkId, L3NetworkId, RouterId, ZoneId};

messages! {
    /// Free addresses of an L3 network or of a range, ascending.
    Read GetFreeIp "GET" "" => "" for Account {
        /// The L3 network.
        l3_network_uuid: Option<L3NetworkId> = Uuid,
        /// The range.
        ip_range_uuid: Option<IpRangeId> = Uuid,
        /// The first address to look at; where there are ranges of both families, together with `ipVersion`.
        start: Option<IpAddr> = Ip,
        /// How many at most, 100 when not given; negative: all.
        limit: Option<i64> = Int(i64::MIN, i64::MAX),
        /// Only of ranges of this type.
        ip_range_type: Option<String> = Enum(&["Normal", "AddressPool"]),
        /// Only addresses of this family: 4 or 6.
        ip_version: Option<u8> = Int(4, 6),
    }
    /// Whether an address of an L3 network is free, and if not, why.
    Read CheckIpAvailability "GET" "/l3-networks/{l3NetworkUuid}/ip/{ip}/availability" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// The address.
        ip: IpAddr = Ip,
        /// Whether hosts ask by ARP too: an IPv4 address that somebody answers for is not available.
        arp_check: Option<bool> = Bool,
        /// Whether it must lie in a range.
        ip_range_check: Option<bool> = Bool,
    }
    /// How many addresses there are, free and used. Of several lists the narrowest counts.
    Read GetIpAddressCapacity "GET" "/ip-capacity" => "" for Account {
        /// Of these zones.
        zone_uuids: Option<Vec<ZoneId>> = List(&Uuid),
        /// Of these L3 networks.
        l3_network_uuids: Option<Vec<L3NetworkId>> = List(&Uuid),
        /// Of these ranges.
        ip_range_uuids: Option<Vec<IpRangeId>> = List(&Uuid),
        /// Of all zones, where no list is given.
        all: Option<bool> = Bool,
    }
    /// The used addresses of an L3 network with who has them, a page at a time.
    Read GetL3NetworkIpStatistic "GET" "/l3-networks/{l3NetworkUuid}/ip-statistic" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// Whose addresses; all when not given.
        resource_type: Option<String> = Enum(&["All", "VIP", "VM"]),
        /// Only addresses with this in their text.
        ip: Option<String> = Text(39),
        /// `Ip` when not given.
        sort_by: Option<String> = Enum(&["Ip", "CreateTime"]),
        /// `asc` when not given.
        sort_direction: Option<String> = Enum(&["asc", "desc"]),
        /// How many to pass over.
        start: Option<u32> = Int(0, 2_147_483_647),
        /// How many at most, 20 when not given.
        limit: Option<u32> = Int(0, 1000),
        /// How many there are in all, too.
        reply_with_count: Option<bool> = Bool,
    }
    /// The MTU of an L3 network, bytes: its own, else that of its kind of L2 network.
    Read GetL3NetworkMtu "GET" "/l3-networks/{l3NetworkUuid}/mtu" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
    }
    /// The address that virtual routers take on an L3 network: the one that was set, else the gateway.
    Read GetL3NetworkRouterInterfaceIp "GET" "/l3-networks/{l3NetworkUuid}/router-interface-ip" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
    }
    /// The address at which the hosts of VMs serve an L3 network with DHCP and DNS (provider `Flat`); none where they do not.
    Read GetL3NetworkDhcpIpAddress "GET" "/l3-networks/{l3NetworkUuid}/dhcp-ip" => "" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
    }
    /// The types of network service.
    Read GetNetworkServiceTypes "GET" "/network-services/types" => "" for Account {}
    /// The types of switches on hosts.
    Read GetVSwitchTypes "GET" "/l2-networks/vSwitchTypes" => "" for Account {}
    /// The clusters that an L2 network may be attached to: those of its zone where nothing is in the way.
    Read GetCandidateClustersForAttachingL2Network "GET" "/l2-networks/{l2NetworkUuid}/cluster-candidates" => "" for Administrator {
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
        /// Only clusters of these types; there is `zstack`.
        cluster_types: Option<Vec<String>> = List(&Enum(&["zstack", "baremetal", "baremetal2"])),
    }
    /// The L2 networks that may be attached to a cluster: those of its zone where nothing is in the way.
    Read GetCandidateL2NetworksForAttachingCluster "GET" "/cluster/{clusterUuid}/l2-candidates" => "" for Administrator {
        /// The cluster.
        cluster_uuid: ClusterId = Uuid,
    }
    /// The types of L2 network.
    Read GetL2NetworkTypes "GET" "/l2-networks/types" => "" for Account {}
    /// The types of L3 network.
    Read GetL3NetworkTypes "GET" "/l3-networks/types" => "" for Account {}
    /// The configuration that the log implies for a router, now or at an earlier moment.
    Read GetVirtualRouterConfig "" "" => "" for Account {
        /// The router.
        uuid: RouterId = Uuid,
        /// A position or an RFC 3339 time.
        at: Option<String> = Text(64),
    }
    /// The difference of a router's configuration between two moments, and the events that made it.
    Read GetVirtualRouterDiff "" "" => "" for Account {
        /// The router.
        uuid: RouterId = Uuid,
        /// A position or an RFC 3339 time.
        from: String = Text(64),
        /// A position or an RFC 3339 time; now when not given.
        to: Option<String> = Text(64),
    }
    /// What becomes of the first packet of a connection, now or at an earlier moment: each thing that decides, with the record
    /// behind it and the event that put it there, and how the answer comes back.
    Read GetVirtualRouterExplanation "" "" => "" for Account {
        /// The router.
        uuid: RouterId = Uuid,
        /// Where the packet is sent to.
        dst: IpAddr = Ip,
        /// Where it comes from. What a nic or the router sends has its address when not given.
        src: Option<IpAddr> = Ip,
        /// What it is of.
        proto: String = Enum(&["tcp", "udp", "icmp"]),
        /// The port that it is sent to; not of ICMP.
        dport: Option<u16> = Int(1, 65535),
        /// The port that it is sent from, 49152 when not given; not of ICMP.
        sport: Option<u16> = Int(1, 65535),
        /// Where it begins: the uuid of a nic or of an L3 network of the router, an interface such as `eth1`, or `router`. When
        /// not given: where `src` is.
        from: Option<String> = Text(64),
        /// A position or an RFC 3339 time.
        at: Option<String> = Text(64),
        /// Whether to compare with what the router's kernel does; not supported yet.
        live: Option<bool> = Bool,
    }
    /// Where a router's kernel and daemons differ from its configuration.
    Read GetVirtualRouterDrift "" "" => "" for Account {
        /// The router.
        uuid: RouterId = Uuid,
    }
    /// How many packets and bytes went through each EIP, port forwarding rule and listener of a router, in and out, as its
    /// agent counts them: since the appliance is there, also over restarts of the agent and replacements of its rules.
    Read GetVirtualRouterCounters "" "" => "" for Account {
        /// The router.
        uuid: RouterId = Uuid,
    }
    /// Events of the log, in order.
    Read GetEvents "" "" => "" for Administrator {
        /// Only later positions.
        after: Option<u64> = Int(0, i64::MAX),
        /// How many at most, 100 when not given.
        limit: Option<u64> = Int(1, 10_000),
        /// Only those that touch this resource.
        resource: Option<Id> = Uuid,
        /// Only of this kind: `vm_instance.Created`, or all of a concept: `vm_instance`.
        kind: Option<String> = Text(255),
        /// Only those that this principal asked for.
        principal: Option<String> = Text(255),
        /// Only what this command did: its name, or its id.
        command: Option<String> = Text(255),
        /// Only what belongs to this piece of work: the id that its commands share.
        correlation: Option<Id> = Uuid,
        /// Only from this RFC 3339 time.
        since: Option<String> = Text(64),
        /// Only up to this RFC 3339 time.
        until: Option<String> = Text(64),
        /// The last ones instead of the first, newest first.
        newest: Option<bool> = Bool,
    }
    /// One event whole, with its commit's other events, what caused it, and what it caused.
    Read GetEvent "" "" => "" for Administrator {
        /// Its position.
        position: u64 = Int(1, i64::MAX),
    }
    /// What changed between two moments, field by field, with the events that made it.
    Read GetAuditDiff "" "" => "" for Administrator {
        /// Only this resource, and what belongs to it.
        resource: Option<Id> = Uuid,
        /// A position or an RFC 3339 time.
        from: String = Text(64),
        /// A position or an RFC 3339 time; now when not given.
        to: Option<String> = Text(64),
    }
    /// The state of a resource folded again from the log, now or as of an earlier moment.
    Read ReplayResource "" "" => "" for Administrator {
        /// The resource.
        uuid: Id = Uuid,
        /// A position or an RFC 3339 time.
        at: Option<String> = Text(64),
    }
    /// The inventories folded again from the log into a fresh database: how many of each kind, and their digests.
    Read ReplayInventories "" "" => "" for Administrator {
        /// A position or an RFC 3339 time.
        at: Option<String> = Text(64),
    }
    /// Who held an address, and from when to when: at a moment, or ever.
    Read GetAddressHolder "" "" => "" for Administrator {
        /// The address.
        ip: IpAddr = Ip,
        /// Only on this L3 network.
        l3_network_uuid: Option<L3NetworkId> = Uuid,
        /// A position or an RFC 3339 time; all holders there ever were when not given.
        at: Option<String> = Text(64),
    }
    /// The head of the log, signed: position, chain hash, time, signature and public key. Kept outside it is an anchor.
    Read GetAuditHead "" "" => "" for Administrator {}
    /// Reads the whole log again and verifies it.
    Read VerifyAudit "" "" => "" for Administrator {
        /// A reply of GetAuditHead that was kept outside, as JSON: the log must still hold it.
        anchor: Option<String> = Text(2048),
    }
    /// A token by which the agent of a host at this address joins. A secret.
    Read GetAgentToken "" "" => "" for Administrator {
        /// Where the agent will listen.
        address: Ipv4Addr = Ipv4,
    }
}
