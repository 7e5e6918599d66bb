//! What can be asked of providers of network services.

use crate::{Check::*, messages};
use switchback_events::{L2NetworkId, NetworkServiceProviderId};

messages! {
    /// Adds a provider of network services. L2 networks that are made from then on may have its services; others are
    /// attached one by one.
    Command AddNetworkServiceProvider "" "" => "networkServiceProvider" for Administrator {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: String = FreeText(2048),
        /// What it offers.
        network_service_types: Vec<String> = List(&Any),
        /// By which name services are attached from it; each provider has its own.
        r#type: String = Text(255),
    }
    /// Lets a provider serve an L2 network.
    Command AttachNetworkServiceProviderToL2Network "" "" => "l2" for Administrator {
        /// The provider.
        network_service_provider_uuid: NetworkServiceProviderId = Uuid,
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
    }
    /// Lets a provider serve an L2 network no more. While an L3 network there has a service from it this is refused.
    Command DetachNetworkServiceProviderFromL2Network "" "" => "l2" for Administrator {
        /// The provider.
        network_service_provider_uuid: NetworkServiceProviderId = Uuid,
        /// The L2 network.
        l2_network_uuid: L2NetworkId = Uuid,
    }
}
