//! What can be asked of virtual IP addresses.

use crate::{Check::*, messages};
use std::net::IpAddr;
use switchback_events::{IpRangeId, L3NetworkId, VipId};

/// The protocols that have ports, in ZStack's words.
pub const PORT_PROTOCOLS: &[&str] = &["TCP", "UDP"];

/// The least and the most that traffic can be limited to, bits per second.
pub const BANDWIDTH: (i64, i64) = (131_072, 32_212_254_720);

messages! {
    /// Takes an address of an L3 network for services to answer at.
    Command CreateVip "POST" "/vips" => "vip" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The network that the address is of.
        l3_network_uuid: L3NetworkId = Uuid,
        /// How the address is chosen; as the network is configured when not given.
        allocator_strategy: Option<String> = Enum(&[
            "RandomIpAllocatorStrategy",
            "FirstAvailableIpAllocatorStrategy",
            "AscDelayRecycleIpAllocatorStrategy",
            "RandomIpv6AllocatorStrategy",
            "FirstAvailableIpv6AllocatorStrategy",
        ]),
        /// The range that the address is of: the only way to one of an AddressPool.
        ip_range_uuid: Option<IpRangeId> = Uuid,
        /// The address that it shall be.
        required_ip: Option<IpAddr> = Ip,
        /// 4 or 6; IPv4 where the network has both and nothing else says it.
        ip_version: Option<u8> = Int(4, 6),
    }
    /// Changes a VIP's name or description.
    Command UpdateVip "PUT" "/vips/{uuid}/actions" => "vip" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Lets a VIP take no more services, or take them again. Those that it has stay as they are.
    Command ChangeVipState "PUT" "/vips/{uuid}/actions" => "vip" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
        /// What shall become of it.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Gives a VIP's address back. One that is not there is a success; one that is in use names its blockers.
    Command DeleteVip "DELETE" "/vips/{uuid}" => "" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
    }
    /// Limits the traffic of a VIP, or of one of its ports besides. A direction that is not given stays as it was.
    Command SetVipQos "PUT" "/vips/{uuid}/actions" => "vipQos" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
        /// The port, of TCP and UDP; the whole VIP when not given.
        port: Option<u16> = Int(1, 65_535),
        /// From the VIP, bits per second.
        outbound_bandwidth: Option<u64> = Int(BANDWIDTH.0, BANDWIDTH.1),
        /// Towards the VIP, bits per second.
        inbound_bandwidth: Option<u64> = Int(BANDWIDTH.0, BANDWIDTH.1),
    }
    /// Takes the limits of a VIP away, or those of one of its ports. Where there are none it is a success.
    Command DeleteVipQos "DELETE" "/vips/{uuid}/vip-qos" => "" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
        /// The port; the limits of the whole VIP when not given, and those of its ports stay.
        port: Option<u16> = Int(1, 65_535),
    }
    /// The limits of a VIP: those of the whole first, then those of its ports.
    Read GetVipQos "GET" "/vip/{uuid}/vip-qos" => "" for Account {
        /// The VIP.
        uuid: VipId = Uuid,
    }
    /// Whether a port of a VIP is free for a service.
    Read CheckVipPortAvailability "GET" "/vips/{vipUuid}/check-port-availability" => "" for Account {
        /// The VIP.
        vip_uuid: VipId = Uuid,
        /// The port.
        port: u16 = Int(1, 65_535),
        /// Of which protocol.
        protocol_type: String = Enum(PORT_PROTOCOLS),
    }
    /// The ports of a VIP that are free for a service, ascending.
    Read GetVipAvailablePort "GET" "/vips/{vipUuid}/get-port-availability" => "" for Account {
        /// The VIP.
        vip_uuid: VipId = Uuid,
        /// Of which protocol.
        protocol_type: String = Enum(PORT_PROTOCOLS),
        /// How many to pass over.
        start: Option<u32> = Int(0, 65_535),
        /// How many at most, 1000 when not given.
        limit: Option<u32> = Int(0, 65_535),
    }
}
