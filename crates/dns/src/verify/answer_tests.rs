//! Every answer that a server can give, and what it means.
