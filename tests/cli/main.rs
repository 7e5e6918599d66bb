//! The command line as people use it: the real program, in a real shell, against a server with simulated hosts.

mod completion;
mod guides;
mod harness;
mod manual;
mod names;
mod printed;
