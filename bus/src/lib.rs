//! What can be asked of Switchback: commands, reads, refusals, and the bus that carries them.
