//! API keys: verification, the idle-window rate limit and the draining counter.
//! The limit must never show as 429 here: the server hides it behind a bare 401.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Owner,
    Admin,
    /// A member without grants: sees nothing.
    Member,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Member => "member",
        }
    }
}

#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub key: String,
    pub role: Role,
    pub created_at: String,
    /// `(window, max)` when the key is limited.
    pub limit: Option<(Duration, u64)>,
    pub count: u64,
    pub last: Option<Duration>,
    pub remaining: Option<u64>,
}

impl ApiKey {
    /// One verification. A refused one does not move the window.
    pub fn verify(&mut self, now: Duration) -> bool {
        if self.remaining == Some(0) {
            return false;
        }
        if let Some((window, max)) = self.limit {
            let fresh = self.last.is_none_or(|last| now.saturating_sub(last) > window);
            if fresh {
                self.count = 0;
            }
            if self.count >= max {
                return false;
            }
            self.count += 1;
            self.last = Some(now);
        }
        if let Some(left) = &mut self.remaining {
            *left -= 1;
        }
        true
    }
}
