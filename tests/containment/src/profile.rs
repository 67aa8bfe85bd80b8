//! As whom Casemate is run.

/// As whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Root.
    Root,
    /// An ordinary user for whom nothing was set up.
    User,
    /// An ordinary user with ids and cgroups for sandboxes.
    UserAfterSetup,
}

impl Profile {
    /// Its name in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Root => "root",
            Profile::User => "user",
            Profile::UserAfterSetup => "user_after_setup",
        }
    }

    /// Whether the sandbox has host ids that nobody else has.
    pub fn own_block(self) -> bool {
        self != Profile::User
    }
}
