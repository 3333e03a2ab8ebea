//! The rows of a body that was posted.

use serde_json::value::RawValue;

use crate::pointer::{Found, Pointer};

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON array of objects, or one object; objects that follow each other are taken as lines.
    Json,
    /// An object a line; lines without anything are passed over.
    Lines,
}

/// Cuts a body into its rows, untouched: whether they are objects is the decoder's business.
/// Lines are rows whatever is in them, so only [`Form::Json`] can be malformed.
pub(super) fn rows(body: &[u8], form: Form) -> Result<Vec<&[u8]>, String> {
    let start = body.trim_ascii_start();
    let is_object = start.first() == Some(&b'{');
    if form == Form::Lines || (is_object && !is_one(start)) {
        return Ok(lines(body));
    }
    let whole = Pointer::parse("")?;
    match whole.find(body) {
        Found::Rows(rows) => Ok(rows),
        Found::Nothing => Ok(vec![]),
        Found::Malformed(reason) => Err(reason),
    }
}

/// Whether it is one JSON value.
fn is_one(body: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(body).is_ok()
}

fn lines(body: &[u8]) -> Vec<&[u8]> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(body: &str, form: Form) -> Result<Vec<String>, String> {
        let rows = rows(body.as_bytes(), form)?.into_iter();
        let text = |row: &[u8]| String::from_utf8_lossy(row).into_owned();
        Ok(rows.map(text).collect())
    }

    #[test]
    fn arrays_objects_and_lines_are_cut_into_rows() {
        let two = vec!["{\"a\": 1}".to_owned(), "{\"a\":2}".to_owned()];
        let json = |body| cut(body, Form::Json);
        assert_eq!(json(" [{\"a\": 1}, {\"a\":2}]\n"), Ok(two.clone()));
        assert_eq!(json("{\"a\": 1}\r\n\n{\"a\":2}"), Ok(two.clone()));
        assert_eq!(cut("{\"a\": 1}\r\n \n{\"a\":2}\n", Form::Lines), Ok(two));
        let spread = "{\n\"a\": 1\n}";
        assert_eq!(json(spread), Ok(vec![spread.to_owned()]));
        assert_eq!(json("[]"), Ok(vec![]));
        assert_eq!(cut("", Form::Lines), Ok(vec![]));
    }

    #[test]
    fn what_is_no_json_is_malformed_as_a_whole_but_for_lines() {
        for body in ["", "[", "[{\"a\":1}", "[1,]", "nonsense"] {
            assert!(cut(body, Form::Json).is_err(), "{body}");
        }
        let lines = cut("{\"a\":\nnonsense", Form::Lines);
        assert_eq!(lines.map(|lines| lines.len()), Ok(2));
    }
}
