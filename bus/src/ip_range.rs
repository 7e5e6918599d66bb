//! What can be asked of IP ranges.

use crate::{Check::*, messages};
use switchback_events::{AddressMode, IpRangeId, L3NetworkId};

messages! {
    /// Adds a range by its first and last address.
    Command AddIpRange "POST" "/l3-networks/{l3NetworkUuid}/ip-ranges" => "ipRange" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The first address.
        start_ip: String = Any,
        /// The last address.
        end_ip: String = Any,
        /// The netmask.
        netmask: String = Any,
        /// The gateway; must be given for a Normal range.
        gateway: Option<String> = Any,
        /// `Normal` (default) or `AddressPool`.
        ip_range_type: Option<String> = Enum(&["Normal", "AddressPool"]),
    }
    /// Adds a range, or two around a gateway in the middle, by a CIDR.
    Command AddIpRangeByNetworkCidr "POST" "/l3-networks/{l3NetworkUuid}/ip-ranges/by-cidr" => "ipRange" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The subnet: `192.168.0.0/24`.
        network_cidr: String = Any,
        /// The gateway; the first usable address when not given.
        gateway: Option<String> = Any,
        /// `Normal` (default) or `AddressPool`.
        ip_range_type: Option<String> = Enum(&["Normal", "AddressPool"]),
    }
    /// Adds a range of IPv6 by its first and last address.
    Command AddIpv6Range "POST" "/l3-networks/{l3NetworkUuid}/ipv6-ranges" => "ipRange" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The first address.
        start_ip: String = Any,
        /// The last address.
        end_ip: String = Any,
        /// The gateway.
        gateway: String = Any,
        /// The length of the subnet's prefix: 64 where hosts make their addresses themselves.
        prefix_len: u8 = Int(8, 126),
        /// How hosts come to their addresses: `SLAAC` (they make them), `Stateful-DHCP` (they ask for them),
        /// `Stateless-DHCP` (they make them, and ask for the rest). The same for all ranges of a network.
        address_mode: AddressMode = Enum(AddressMode::WORDS),
        /// Only `Normal`.
        ip_range_type: Option<String> = Enum(&["Normal", "AddressPool"]),
    }
    /// Adds a range of IPv6 by a CIDR: the gateway is its second address, the range goes from the third to the last.
    Command AddIpv6RangeByNetworkCidr "POST" "/l3-networks/{l3NetworkUuid}/ipv6-ranges/by-cidr" => "ipRange" for Account {
        /// The L3 network.
        l3_network_uuid: L3NetworkId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The subnet: `fd00:1::/64`.
        network_cidr: String = Any,
        /// How hosts come to their addresses: `SLAAC`, `Stateful-DHCP` or `Stateless-DHCP`.
        address_mode: AddressMode = Enum(AddressMode::WORDS),
        /// Only `Normal`.
        ip_range_type: Option<String> = Enum(&["Normal", "AddressPool"]),
    }
    /// Changes a range's name or description.
    Command UpdateIpRange "PUT" "/l3-networks/ip-ranges/{uuid}/actions" => "ipRange" for Account {
        /// The range.
        uuid: IpRangeId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes a range. One that is not there is a success; one in use names its blockers.
    Command DeleteIpRange "DELETE" "/l3-networks/ip-ranges/{uuid}" => "" for Account {
        /// The range.
        uuid: IpRangeId = Uuid,
    }
}
