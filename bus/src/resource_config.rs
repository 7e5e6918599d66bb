//! What can be asked of the configuration of one resource: values of its own for entries of the global configuration.

use crate::{Check::*, messages};
use switchback_events::Id;

messages! {
    /// Gives a resource a value of its own for an entry of the global configuration.
    Command UpdateResourceConfig "PUT" "/resource-configurations/{category}/{name}/{resourceUuid}/actions" => "resourceConfig" for Administrator {
        /// `l3Network`, `host` …
        category: String = Text(255),
        /// `ipAllocateStrategy`, `ping.interval` …
        name: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
        /// The value, as text.
        value: String = FreeText(2048),
    }
    /// Takes a resource's own value away: what holds around it holds for it again. Where there is none, it is a success.
    Command DeleteResourceConfig "DELETE" "/resource-configurations/{category}/{name}/{resourceUuid}" => "" for Administrator {
        /// `l3Network`, `host` …
        category: String = Text(255),
        /// `ipAllocateStrategy`, `ping.interval` …
        name: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
    }
    /// The value of an entry that holds for a resource, and the values of its own and of what it is in, the nearest first.
    Read GetResourceConfig "GET" "/resource-configurations/{resourceUuid}/{category}/{name}" => "" for Account {
        /// `l3Network`, `host` …
        category: String = Text(255),
        /// `ipAllocateStrategy`, `ping.interval` …
        name: String = Text(255),
        /// The resource.
        resource_uuid: Id = Uuid,
    }
    /// The same for several entries of one category.
    Read GetResourceConfigs "GET" "/resource-configurations/{resourceUuid}/{category}" => "" for Account {
        /// `l3Network`, `host` …
        category: String = Text(255),
        /// `ping.interval`, `ping.maxFailure` …
        names: Vec<String> = List(&Text(255)),
        /// The resource.
        resource_uuid: Id = Uuid,
    }
    /// The entries that resources may have values of their own for, and which resources.
    Read GetResourceBindableConfig "GET" "/resource-configurations/bindable" => "" for Administrator {
        /// Only of this category.
        category: Option<String> = Text(255),
    }
}
