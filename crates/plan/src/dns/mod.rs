//! What is to be done in a zone for one stack: a pure judgement of what is wanted against what a look showed.
//!
//! **States of a set.** Nothing there: it is made. Ours: it is kept right. Unmarked with exactly the wanted values: taken
//! over where that is allowed, else left, which does no harm, and said. Anything else that stands there (other values
//! without a mark, another owner's mark, another stack's, a CNAME where an address is wanted) is a conflict that names
//! the record; it is never written over. TXT values stand beside others' by nature: ours are added.
//!
//! **Halves.** A mark without a record gets its record. A record that the ledger knows, value for value, and whose mark is
//! gone gets its mark back.
//!
//! **Whose a value is.** In a set with our mark, the values are ours that the ledger knows or the mark's hash names, in
//! that order. A value that stands where one of ours is missing is ours, changed by hand, and is put back; a value beside
//! all of ours is somebody's own and stays, byte for byte, whatever happens to ours (`whose.rs`).
//!
//! **Removal** needs both: the mark, and the ledger. Values that were taken over stay when ours go.

mod guard;
mod judge;
mod orphans;
mod reasons;
mod whose;

pub use guard::{ZoneHold, guard_zone};
pub use judge::{Ask, Judgement, Us, asked, judge};
pub use orphans::{Orphan, orphans};
pub use reasons::{Blocked, Note, Noted, Whose, Why};
