//! Who decides: per concept state, decide, evolve; one generic actor shell; reconcilers.
