//! The words of DNS: names, record sets, marks, zones as they were seen, changes, and what a verification found.
//!
//! One model for all providers: a **set** is what stands under one name and type. Everything is canonical before it is
//! compared (case, punycode, dots, the text of IPv6 addresses, the quotes and chunks of TXT), so that two values are the
//! same where `==` says so. Only A, AAAA, CNAME and TXT have types here. SOA, NS, MX and the rest can be seen as a bare
//! type name that stands in the way, and nothing can be said that would change them.
//!
//! **Whose a value is.** A mark says whose a set is (or, with providers that hold each value as an object of its own,
//! whose a value is). A ledger, kept by whoever runs the changes, says which values were written. Either can be lost:
//! the mark carries a hash of the values, by which they are found again in a set that holds others too.

mod change;
mod data;
mod ledger;
mod look;
mod mark;
mod name;
mod seen;
mod tsig;
pub mod txt;
mod verify;
mod wanted;
mod zone;

pub use change::{Change, Changed, Put, SetChange, Then};
pub use data::{RecordData, RecordKey, RecordType, Ttl, TxtData};
pub use ledger::{Ledger, LedgerEntry};
pub use look::{DnsRead, ObservedDns, Trouble};
pub use mark::{
    COMMENT_MOST, DnsHash, DnsMark, DnsMarkSeen, companion, companion_of, read, with_mark, without_mark,
};
pub use name::Fqdn;
pub use seen::{Known, SeenName, SeenSet, SeenValue, ZoneView};
pub use tsig::TsigAlgo;
pub use verify::{Asked, Expected, ServerAnswer, ServerSays, Verdict, Verification, Verified, VerifyMode};
pub use wanted::{BadRecord, WantedSet};
pub use zone::{
    Cut, Delegation, MarkPlace, Policy, Quota, TtlBounds, Writable, ZoneChoice, ZoneFacts, ZoneId, ZoneRules,
};
