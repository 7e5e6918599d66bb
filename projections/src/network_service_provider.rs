//! The rows of network service providers.

use crate::catalogue::PROVIDER;
use crate::fold::RowChange;
use switchback_events::{Id, NetworkServiceProviderEvent};

pub(crate) fn changes(id: Id, event: &NetworkServiceProviderEvent) -> Vec<RowChange> {
    match event {
        NetworkServiceProviderEvent::Created { name, description, provider_type, services } => vec![
            RowChange::insert(&PROVIDER, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("type", provider_type)
                .put("networkServiceTypes", services.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ],
    }
}
