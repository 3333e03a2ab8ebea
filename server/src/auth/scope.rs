//! What a principal may do.

use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Denied;

/// A right. `write` does not hold `read`: a feed that only pushes rows need not see any. `admin`
/// holds both.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// To see: jobs, live windows, queries, replays.
    Read,
    /// To change: submit, start, stop and delete jobs, push rows, run replays.
    Write,
    /// Everything, keys too.
    Admin,
}

impl Scope {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<Scope>);

impl Scopes {
    /// Those that are named, each once.
    pub(crate) fn new(scopes: &[Scope]) -> Self {
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Those of a stored key: names with a space between them.
    pub(crate) fn stored(text: &str) -> Result<Self> {
        let scope = |name: &str| {
            let found = Scope::ALL.into_iter().find(|scope| scope.name() == name);
            found.ok_or_else(|| {
                Error::corrupt(format!("the store has a key with the scope '{name}'"))
            })
        };
        let scopes: Result<Vec<Scope>> = text.split_whitespace().map(scope).collect();
        Ok(Self::new(&scopes?))
    }

    /// As the store keeps them.
    pub(crate) fn text(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.name()).collect();
        names.join(" ")
    }

    /// One by one.
    pub(crate) fn list(&self) -> &[Scope] {
        &self.0
    }

    /// Whether they hold the right.
    pub(crate) fn hold(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }
}

/// Who asks. Handlers get it as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// What limits and logs go by: the key's id, or an address.
    pub(crate) id: Arc<str>,
    /// As the key was named.
    pub(crate) name: Arc<str>,
    /// What they may.
    pub(crate) scopes: Scopes,
}

impl Principal {
    /// Whoever asks where nobody has to say who they are: they may everything.
    pub(crate) fn anybody(address: &str) -> Self {
        Self {
            id: address.into(),
            name: "anybody".into(),
            scopes: Scopes::new(&[Scope::Admin]),
        }
    }

    /// Who has not said yet who they are, and will in the first frame: they may nothing.
    pub(crate) fn unknown(address: &str) -> Self {
        Self {
            id: address.into(),
            name: "unknown".into(),
            scopes: Scopes::default(),
        }
    }

    /// Whether they have not said yet who they are.
    pub(crate) fn is_unknown(&self) -> bool {
        self.scopes == Scopes::default()
    }

    /// Refuses where they lack the right.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Denied> {
        match self.scopes.hold(scope) {
            true => Ok(()),
            false => Err(Denied::Scope(scope)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_holds_everything_and_write_does_not_read() {
        let holds = |scopes: &[Scope]| {
            let scopes = Scopes::new(scopes);
            Scope::ALL.map(|scope| scopes.hold(scope))
        };
        assert_eq!(holds(&[]), [false, false, false]);
        assert_eq!(holds(&[Scope::Read]), [true, false, false]);
        assert_eq!(holds(&[Scope::Write]), [false, true, false]);
        assert_eq!(holds(&[Scope::Write, Scope::Read]), [true, true, false]);
        assert_eq!(holds(&[Scope::Admin]), [true, true, true]);
    }

    #[test]
    fn the_store_gives_back_what_it_got() {
        let scopes = Scopes::new(&[Scope::Write, Scope::Read, Scope::Write]);
        assert_eq!(scopes.text(), "read write");
        assert_eq!(Scopes::stored(&scopes.text()).unwrap(), scopes);
        assert!(Scopes::stored("read sudo").is_err());
    }
}
