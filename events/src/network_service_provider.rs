//! What happens to a provider of network services, and the types of service.

use crate::{Id, NetworkServiceProviderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! service_types {
    ($($name:ident),* $(,)?) => {
        /// A type of network service.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs)]
        pub enum NetworkServiceType { $($name),* }

        impl NetworkServiceType {
            /// All of them.
            pub const ALL: &[NetworkServiceType] = &[$(NetworkServiceType::$name),*];
        }

        impl FromStr for NetworkServiceType {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $(stringify!($name) => Ok(NetworkServiceType::$name),)*
                    _ => Err(()),
                }
            }
        }
    };
}

service_types!(
    DHCP,
    DNS,
    SNAT,
    PortForwarding,
    Eip,
    LoadBalancer,
    SecurityGroup,
    Userdata,
    CentralizedDNS,
    HostRoute,
    IPsec,
    VRouterRoute,
    VipQos,
);

impl fmt::Display for NetworkServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Events of a network service provider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum NetworkServiceProviderEvent {
    Created { name: String, description: Option<String>, provider_type: String, services: Vec<NetworkServiceType> },
}

/// The types of the built-in providers.
pub const BUILT_IN_PROVIDERS: [&str; 4] = ["VirtualRouter", "vrouter", "Flat", "SecurityGroup"];

/// The id of the built-in provider of a type, the same on every installation.
pub fn built_in_provider(provider_type: &str) -> NetworkServiceProviderId {
    NetworkServiceProviderId(Id::of_name(&format!("network-service-provider:{provider_type}")))
}
