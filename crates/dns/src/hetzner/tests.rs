//! Hetzner: what is sent for a change, and what its answers mean.
