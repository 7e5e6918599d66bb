//! The bus as its users know it: programs in other languages, with NATS' own clients, against the program itself, which
//! they reach by its own listener and through a NATS server.

mod clients;
mod guide;
mod harness;
mod idle;
