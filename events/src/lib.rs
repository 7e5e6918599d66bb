//! What can happen in Switchback: ids, network types, one event enum per concept, the envelope.
