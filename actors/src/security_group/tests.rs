//! Decisions of security groups.
