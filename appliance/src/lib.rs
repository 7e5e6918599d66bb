//! What a router or host should be: a pure fold of events into its configuration.
