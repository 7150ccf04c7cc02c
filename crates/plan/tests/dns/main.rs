//! The judgement of DNS records: a table of situations, and properties over random histories in a zone in memory.

mod histories;
mod tables;
mod zone;
