//! Where the rows of a JSON message are: a JSON pointer (RFC 6901) to an object or to an array of
//! rows. The rows are cut out as bytes, untouched: what is in them is the decoder's business.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON pointer to the rows of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// What a pointer finds in a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The rows: each element of an array, or the one value.
    Rows(Vec<&'a [u8]>),
    /// The message is JSON, the pointer leads nowhere in it.
    Nothing,
    /// The message is not JSON, and why.
    Malformed(String),
}

impl Pointer {
    /// Reads `''` (the whole message) or `'/a/b/0'`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let steps = match text.strip_prefix('/') {
            None if text.is_empty() => vec![],
            None => return Err(format!("'{text}' is not a JSON pointer, write '/{text}'")),
            Some(rest) => rest
                .split('/')
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect(),
        };
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    /// The pointer as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The rows in a message.
    pub(crate) fn find<'a>(&self, message: &'a [u8]) -> Found<'a> {
        if self.steps.is_empty() && message.trim_ascii_start().first() == Some(&b'{') {
            // The decoder reads the object anyway: no need to read it twice.
            return Found::Rows(vec![message]);
        }
        match self.walk(message) {
            Ok(Some(value)) => cut(value),
            Ok(None) => Found::Nothing,
            Err(error) => Found::Malformed(format!("not JSON: {error}")),
        }
    }

    fn walk<'a>(&self, message: &'a [u8]) -> serde_json::Result<Option<&'a RawValue>> {
        let mut value: &RawValue = serde_json::from_slice(message)?;
        for step in &self.steps {
            let next = match value.get().as_bytes().first() {
                Some(b'{') => {
                    let fields: BTreeMap<Cow<'a, str>, &'a RawValue> =
                        serde_json::from_str(value.get())?;
                    fields.get(step.as_str()).copied()
                }
                Some(b'[') => match step.parse::<usize>() {
                    Ok(index) => {
                        let elements: Vec<&'a RawValue> = serde_json::from_str(value.get())?;
                        elements.get(index).copied()
                    }
                    Err(_) => None,
                },
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }
}

fn cut(value: &RawValue) -> Found<'_> {
    if !value.get().starts_with('[') {
        return Found::Rows(vec![value.get().as_bytes()]);
    }
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(rows) => Found::Rows(rows.into_iter().map(|row| row.get().as_bytes()).collect()),
        Err(error) => Found::Malformed(format!("not JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, message: &'a str) -> Found<'a> {
        Pointer::parse(pointer).unwrap().find(message.as_bytes())
    }

    fn rows<'a>(rows: &[&'a str]) -> Found<'a> {
        Found::Rows(rows.iter().map(|row| row.as_bytes()).collect())
    }

    #[test]
    fn finds_objects_and_arrays() {
        assert_eq!(find("", r#"{"a": 1}"#), rows(&[r#"{"a": 1}"#]));
        assert_eq!(
            find("", r#" [{"a": 1}, {"a":2}] "#),
            rows(&[r#"{"a": 1}"#, r#"{"a":2}"#])
        );
        assert_eq!(find("/d", r#"{"c": 0, "d": [1, 2]}"#), rows(&["1", "2"]));
        assert_eq!(
            find("/d/1/e", r#"{"d": [0, {"e": {"f": "[x]"}}]}"#),
            rows(&[r#"{"f": "[x]"}"#])
        );
        assert_eq!(find("/a~1b~0c", r#"{"a/b~c": 7}"#), rows(&["7"]));
        assert_eq!(find("/\u{e9}", r#"{"\u00e9": 7}"#), rows(&["7"]));
        assert_eq!(find("", "[]"), rows(&[]));
    }

    #[test]
    fn tells_absent_from_malformed() {
        assert_eq!(find("/d", r#"{"c": 0}"#), Found::Nothing);
        assert_eq!(find("/d/x", r#"{"d": [1]}"#), Found::Nothing);
        assert_eq!(find("/d/7", r#"{"d": [1]}"#), Found::Nothing);
        assert_eq!(find("/d/e", r#"{"d": 1}"#), Found::Nothing);
        for broken in ["", "[", "[1,", r#"{"d": [1}"#, "nope", "[1] 2"] {
            let found = find("/d", broken);
            assert!(matches!(found, Found::Malformed(_)), "{broken}: {found:?}");
        }
        let invalid = Pointer::parse("/d")
            .unwrap()
            .find(b"{\"d\": \"\xff\"}")
            .eq(&Found::Nothing);
        assert!(
            !invalid,
            "bytes that are not UTF-8 are not a message without the field"
        );
    }

    #[test]
    fn a_deep_message_is_no_stack_overflow() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(find("", &deep), Found::Malformed(_)));
        let closed = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(matches!(find("", &closed), Found::Rows(_)));
    }

    #[test]
    fn refuses_what_is_no_pointer() {
        assert_eq!(
            Pointer::parse("data").unwrap_err(),
            "'data' is not a JSON pointer, write '/data'"
        );
        assert_eq!(Pointer::parse("/data").unwrap().as_str(), "/data");
    }
}
