//! Verification against simulated servers.
