//! What a key may do: rights, and the roles that carry them. Who creates sandboxes does not approve, widen or stop those
//! of others: no key carries both.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Something that a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Make sandboxes.
    Create,
    /// Work in a sandbox, and keep it alive.
    Use,
    /// See that a sandbox is there, and what it is like; not what opens it.
    See,
    /// End a sandbox.
    End,
    /// Say yes to what a policy asks a person for.
    Approve,
    /// Give a sandbox that runs a wider policy.
    Widen,
    /// Read the record.
    Audit,
}

/// Whose sandboxes a right is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The key's own.
    Own,
    /// Everybody's.
    All,
}

/// Rights that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes, uses and ends its own sandboxes.
    Creator,
    /// Approves and widens; creates nothing.
    Approver,
    /// Sees all sandboxes and ends any; works in none.
    Operator,
    /// Reads lists and the record; changes nothing.
    Auditor,
}

impl Right {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::Create => "create",
            Right::Use => "use",
            Right::See => "see",
            Right::End => "end",
            Right::Approve => "approve",
            Right::Widen => "widen",
            Right::Audit => "audit",
        }
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Creator, Role::Approver, Role::Operator, Role::Auditor];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Creator => "creator",
            Role::Approver => "approver",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        }
    }

    /// How far a right goes for this role; none that it does not have.
    pub const fn reach(self, right: Right) -> Option<Reach> {
        match (self, right) {
            (Role::Creator, Right::Create | Right::Use | Right::See | Right::End) => Some(Reach::Own),
            (Role::Approver, Right::Approve | Right::Widen) => Some(Reach::All),
            (Role::Operator, Right::See | Right::End) => Some(Reach::All),
            (Role::Auditor, Right::See | Right::Audit) => Some(Reach::All),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Role, NotARole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| NotARole(crate::quote(text)))
    }
}

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: expected creator, approver, operator or auditor")]
pub struct NotARole(String);

/// The roles of one key: at least one, and none that must not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles(u8);

/// Why roles are no roles of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRoles {
    /// None at all.
    #[error("a key has at least one role")]
    Empty,
    /// Who creates may not approve, widen or stop others.
    #[error("a key is not both creator and {0}: who creates may not approve, widen or stop others")]
    Conflict(Role),
}

impl Roles {
    /// A creator and nothing else: what keys are that say nothing.
    pub const CREATOR: Roles = Roles(1 << Role::Creator as u8);

    /// These roles, each as often as one likes.
    ///
    /// # Errors
    /// None of them, or a creator with a role that judges creators.
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Result<Roles, NotRoles> {
        let roles = Roles(roles.into_iter().fold(0, |bits, role| bits | 1 << role as u8));
        if roles.0 == 0 {
            return Err(NotRoles::Empty);
        }
        let judges = [Role::Approver, Role::Operator].into_iter().find(|role| roles.has(*role));
        match judges {
            Some(judge) if roles.has(Role::Creator) => Err(NotRoles::Conflict(judge)),
            _ => Ok(roles),
        }
    }

    /// Whether this is one of them.
    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// How far a right goes: as far as it goes for one of them.
    pub fn reach(self, right: Right) -> Option<Reach> {
        self.iter().filter_map(|role| role.reach(right)).max()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

impl TryFrom<Vec<Role>> for Roles {
    type Error = NotRoles;

    fn try_from(roles: Vec<Role>) -> Result<Roles, NotRoles> {
        Roles::new(roles)
    }
}

impl From<Roles> for Vec<Role> {
    fn from(roles: Roles) -> Vec<Role> {
        roles.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: [Right; 7] =
        [Right::Create, Right::Use, Right::See, Right::End, Right::Approve, Right::Widen, Right::Audit];

    /// All sets of roles.
    fn sets() -> impl Iterator<Item = Vec<Role>> {
        (0..16_u8).map(|bits| Role::ALL.into_iter().filter(|role| bits & 1 << *role as u8 != 0).collect())
    }

    #[test]
    fn no_key_can_create_and_judge_what_others_create() {
        for roles in sets() {
            let Ok(roles) = Roles::new(roles) else { continue };
            let judges = roles.reach(Right::Approve).is_some()
                || roles.reach(Right::Widen).is_some()
                || roles.reach(Right::End) == Some(Reach::All);
            assert!(!(judges && roles.reach(Right::Create).is_some()), "{roles}");
            assert!(roles.reach(Right::Use) != Some(Reach::All), "{roles}");
        }
        assert_eq!(Roles::new([]), Err(NotRoles::Empty));
        let both = Roles::new([Role::Creator, Role::Approver]);
        assert_eq!(both, Err(NotRoles::Conflict(Role::Approver)));
        assert!(Roles::new([Role::Creator, Role::Auditor]).is_ok());
    }

    #[test]
    fn approving_and_widening_are_the_approvers_alone() {
        for right in RIGHTS {
            let holders: Vec<Role> =
                Role::ALL.into_iter().filter(|role| role.reach(right).is_some()).collect();
            assert!(!holders.is_empty(), "{right:?}");
            if matches!(right, Right::Approve | Right::Widen) {
                assert_eq!(holders, [Role::Approver]);
            }
        }
        assert!(
            RIGHTS
                .iter()
                .all(|right| Role::Auditor.reach(*right).is_none()
                    || matches!(right, Right::See | Right::Audit))
        );
    }

    #[test]
    fn roles_are_written_as_they_are_read() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
        let roles = Roles::new([Role::Auditor, Role::Operator, Role::Auditor]).unwrap();
        assert_eq!(serde_json::to_string(&roles).unwrap(), r#"["operator","auditor"]"#);
        assert!(serde_json::from_str::<Roles>(r#"["creator","operator"]"#).is_err());
        assert!(serde_json::from_str::<Roles>("[]").is_err());
    }
}
