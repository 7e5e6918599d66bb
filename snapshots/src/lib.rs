//! State at a position: a versioned cache that may be deleted at any time.
