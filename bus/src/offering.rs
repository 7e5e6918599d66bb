//! What can be asked of instance offerings and virtual router offerings.

use crate::{Check::*, messages};
use switchback_events::{ImageId, L3NetworkId, OfferingId, ZoneId};

messages! {
    /// Creates an instance offering.
    Command CreateInstanceOffering "POST" "/instance-offerings" => "instanceOffering" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// Number of CPUs.
        cpu_num: u32 = Int(1, 1024),
        /// MHz.
        cpu_speed: Option<u32> = Int(0, 1_000_000),
        /// Bytes.
        memory_size: u64 = Int(1, 1 << 50),
        /// How a host is chosen.
        allocator_strategy: Option<String> = Enum(&["DefaultHostAllocatorStrategy"]),
    }
    /// Creates a virtual router offering: what routers are made of, and the networks that they stand on.
    Command CreateVirtualRouterOffering "POST" "/instance-offerings/virtual-routers" => "virtualRouterOffering" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// Number of CPUs.
        cpu_num: u32 = Int(1, 1024),
        /// MHz.
        cpu_speed: Option<u32> = Int(0, 1_000_000),
        /// Bytes.
        memory_size: u64 = Int(1, 1 << 50),
        /// How a host is chosen.
        allocator_strategy: Option<String> = Enum(&["DefaultHostAllocatorStrategy"]),
        /// The zone whose routers it is for.
        zone_uuid: ZoneId = Uuid,
        /// Where the server reaches the routers' agents.
        management_network_uuid: L3NetworkId = Uuid,
        /// The routers' image.
        image_uuid: ImageId = Uuid,
        /// Towards the internet; the management network when not given.
        public_network_uuid: Option<L3NetworkId> = Uuid,
        /// The offering that is meant where none is named. The first of a zone always is.
        is_default: Option<bool> = Bool,
    }
    /// Changes a virtual router offering.
    Command UpdateVirtualRouterOffering "PUT" "/instance-offerings/virtual-routers/{uuid}/actions" => "virtualRouterOffering" for Administrator {
        /// The offering.
        uuid: OfferingId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The offering that is meant where none is named. Unset, another one becomes it; the only one of a zone stays.
        is_default: Option<bool> = Bool,
        /// The routers' image.
        image_uuid: Option<ImageId> = Uuid,
    }
    /// Changes an offering's name or description.
    Command UpdateInstanceOffering "PUT" "/instance-offerings/{uuid}/actions" => "instanceOffering" for Administrator {
        /// The offering.
        uuid: OfferingId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Enables or disables an offering.
    Command ChangeInstanceOfferingState "PUT" "/instance-offerings/{uuid}/actions" => "instanceOffering" for Administrator {
        /// The offering.
        uuid: OfferingId = Uuid,
        /// `enable` or `disable`.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes an offering. One that is not there is a success. Routers made of it go on.
    Command DeleteInstanceOffering "DELETE" "/instance-offerings/{uuid}" => "" for Administrator {
        /// The offering.
        uuid: OfferingId = Uuid,
    }
}
