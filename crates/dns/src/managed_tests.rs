//! One zone's manager, over a provider in memory.
