//! PowerDNS's answers, read.
