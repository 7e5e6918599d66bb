//! Makes a kernel match a configuration: observe, plan, apply; host role and router role.
