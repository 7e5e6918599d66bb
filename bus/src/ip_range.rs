//! What can be asked of IP ranges.

use crate::{Check::*, messages};
use switchback_events::{IpRangeId, L3NetworkId};

messages! {
    /// Adds a range by its first and last address.
    Command AddIpRange "POST" "/l3-networks/{l3NetworkUuid}/ip-ranges" => "ipRange" {
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
    Command AddIpRangeByNetworkCidr "POST" "/l3-networks/{l3NetworkUuid}/ip-ranges/by-cidr" => "ipRange" {
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
    /// Changes a range's name or description.
    Command UpdateIpRange "PUT" "/l3-networks/ip-ranges/{uuid}/actions" => "ipRange" {
        /// The range.
        uuid: IpRangeId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes a range. One that is not there is a success; one in use names its blockers.
    Command DeleteIpRange "DELETE" "/l3-networks/ip-ranges/{uuid}" => "" {
        /// The range.
        uuid: IpRangeId = Uuid,
    }
}
