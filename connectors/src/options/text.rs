//! Strings of options that hide themselves where they are secret.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;

/// A string option. It derefs to `str`; its `Debug` is `***` where the value came from `${ENV}`
/// or belongs to a key such as `password`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Text(bool, String);

/// The options of a `prefix.*`, by the rest of their key.
pub type Properties = BTreeMap<String, Text>;

impl Text {
    /// A text that may be shown.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self(false, text.into())
    }

    /// A text that is never shown.
    #[must_use]
    pub fn secret(text: impl Into<String>) -> Self {
        Self(true, text.into())
    }

    /// The text as errors and logs may show it: `***` where it is secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.0 { "***" } else { &self.1 }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.1
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 {
            f.write_str("***")
        } else {
            fmt::Debug::fmt(&self.1, f)
        }
    }
}
