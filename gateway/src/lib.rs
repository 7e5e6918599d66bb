//! HTTP: the native API, from the one catalogue of messages.
