//! What can be asked of zones.

use crate::{Check::*, messages};
use switchback_events::ZoneId;

messages! {
    /// Creates a zone.
    Command CreateZone "POST" "/zones" => "zone" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The zone that is meant where none is named.
        is_default: Option<bool> = Bool,
    }
    /// Changes a zone's name, description or default flag.
    Command UpdateZone "PUT" "/zones/{uuid}/actions" => "zone" for Administrator {
        /// The zone.
        uuid: ZoneId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The zone that is meant where none is named.
        is_default: Option<bool> = Bool,
    }
    /// Enables or disables a zone and, with it, its clusters and hosts.
    Command ChangeZoneState "PUT" "/zones/{uuid}/actions" => "zone" for Administrator {
        /// The zone.
        uuid: ZoneId = Uuid,
        /// `enable` or `disable`.
        state_event: String = Enum(&["enable", "disable"]),
    }
    /// Deletes a zone. One that is not there is a success; one that is in use names its blockers.
    Command DeleteZone "DELETE" "/zones/{uuid}" => "" for Administrator {
        /// The zone.
        uuid: ZoneId = Uuid,
    }
}
