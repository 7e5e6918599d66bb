//! The lab: a data centre out of network namespaces on one machine.
