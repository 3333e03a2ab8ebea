//! What is no row, and what is said about it.

use arrow::datatypes::{DataType, Field};

use super::{column, list, read, timestamp};

fn reason(data_type: DataType, message: &str) -> String {
    let found = read(&column(data_type), message.as_bytes());
    found.expect_err(&format!("{message} should be rejected"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn wrong_messages_are_rejected_with_field_and_reason() {
    let nested = || DataType::Struct(vec![Field::new("a", list(DataType::Int64), true)].into());
    for (data_type, message, expected) in [
        (
            DataType::Utf8,
            "",
            "invalid JSON: expected a value at byte 0, found the end",
        ),
        (
            DataType::Utf8,
            "[1]",
            "expected a JSON object, found an array",
        ),
        (
            DataType::Utf8,
            "{\"x\":\"a\"",
            "invalid JSON: expected ',' or '}' at byte 8, found the end",
        ),
        (
            DataType::Utf8,
            "{\"x\":\"a\",}",
            "invalid JSON: expected a string at byte 9, found '}'",
        ),
        (
            DataType::Utf8,
            "{\"x\":\"a\"} x",
            "invalid JSON: expected the end at byte 10, found 'x'",
        ),
        (
            DataType::Utf8,
            "{\"x\":\"a\"}{}",
            "invalid JSON: expected the end at byte 9, found '{'",
        ),
        (
            DataType::Utf8,
            "{x:1}",
            "invalid JSON: expected a string at byte 1, found 'x'",
        ),
        (
            DataType::Utf8,
            "{\"x\" 1}",
            "invalid JSON: expected ':' at byte 5, found '1'",
        ),
        (
            DataType::Utf8,
            "{\"x\":1}",
            "field 'x': expected a string, found a number",
        ),
        (
            DataType::Utf8,
            "{\"x\":\"a\n\"}",
            "field 'x': invalid JSON: expected no control character in a string at byte 7, found '\\n'",
        ),
        (
            DataType::Utf8,
            r#"{"x":"\q"}"#,
            "field 'x': invalid JSON: unknown escape in a string",
        ),
        (
            DataType::Utf8,
            r#"{"x":"\ud800"}"#,
            "field 'x': invalid JSON: a \\u escape is not a character",
        ),
        (
            DataType::Utf8,
            r#"{"x":"a"#,
            "field 'x': invalid JSON: expected '\"' at byte 7, found the end",
        ),
        (
            DataType::Utf8,
            r#"{"x":"a\"#,
            "field 'x': invalid JSON: expected '\"' at byte 8, found the end",
        ),
        (
            DataType::Utf8,
            r#"{"x":"a","x":"b"}"#,
            "field 'x': is there more than once",
        ),
        (
            DataType::Utf8,
            r#"{"y":"\q"}"#,
            "invalid JSON: unknown escape in a string",
        ),
        (
            DataType::Utf8,
            r#"{"y":tru}"#,
            "invalid JSON: expected 'true' at byte 5, found 't'",
        ),
        (
            DataType::Float64,
            r#"{"x":"1.5"}"#,
            "field 'x': expected a number, found a string",
        ),
        (
            DataType::Float64,
            r#"{"x":"NaN"}"#,
            "field 'x': expected a number, found a string",
        ),
        (
            DataType::Float64,
            r#"{"x":NaN}"#,
            "field 'x': invalid JSON: expected a value at byte 5, found 'N'",
        ),
        (
            DataType::Float64,
            r#"{"x":1e400}"#,
            "field 'x': 1e400 is out of range for DOUBLE",
        ),
        (
            DataType::Float64,
            r#"{"x":01}"#,
            "field 'x': invalid JSON: expected a digit at byte 6, found '1'",
        ),
        (
            DataType::Float64,
            r#"{"x":1.}"#,
            "field 'x': invalid JSON: expected a digit at byte 7, found '}'",
        ),
        (
            DataType::Float64,
            r#"{"x":1e+}"#,
            "field 'x': invalid JSON: expected a digit at byte 8, found '}'",
        ),
        (
            DataType::Float32,
            r#"{"x":1e39}"#,
            "field 'x': 1e39 is out of range for FLOAT",
        ),
        (
            DataType::Int64,
            r#"{"x":3.5}"#,
            "field 'x': 3.5 is not a whole number, the column is BIGINT",
        ),
        (
            DataType::Int64,
            r#"{"x":9223372036854775808}"#,
            "field 'x': 9223372036854775808 is out of range for BIGINT",
        ),
        (
            DataType::Int64,
            r#"{"x":1e-400000000000}"#,
            "field 'x': 1e-400000000000 is not a whole number, the column is BIGINT",
        ),
        (
            DataType::Int64,
            r#"{"x":1e99999999999}"#,
            "field 'x': 1e99999999999 is out of range, the column is BIGINT",
        ),
        (
            DataType::Int8,
            r#"{"x":128}"#,
            "field 'x': 128 is out of range for TINYINT",
        ),
        (
            DataType::UInt32,
            r#"{"x":-1}"#,
            "field 'x': -1 is out of range for INT UNSIGNED",
        ),
        (
            DataType::Boolean,
            r#"{"x":1}"#,
            "field 'x': expected a boolean, found a number",
        ),
        (
            DataType::Decimal128(4, 2),
            r#"{"x":100}"#,
            "field 'x': 100 is out of range for DECIMAL(4, 2)",
        ),
        (
            DataType::Date32,
            r#"{"x":"2024-02-30"}"#,
            "field 'x': expected a date such as '2024-01-31', found '2024-02-30'",
        ),
        (
            timestamp(),
            r#"{"x":1704103800}"#,
            "field 'x': expected a string as a timestamp, found a number",
        ),
        (
            DataType::Binary,
            r#"{"x":"Zm9"}"#,
            "field 'x': expected base64",
        ),
        (
            nested(),
            r#"{"x":{"a":[1,"2"]}}"#,
            "field 'x.a.item': expected a whole number, found a string",
        ),
    ] {
        assert_eq!(reason(data_type, message), expected, "{message}");
    }
    assert!(reason(timestamp(), r#"{"x":"yesterday"}"#).contains("found 'yesterday'"));
    let found = read(&column(DataType::Utf8), b"{\"x\":\"\xff\"}");
    assert_eq!(found.expect_err("not UTF-8"), "invalid UTF-8 at byte 6");
}

#[test]
fn nesting_is_bounded_everywhere() {
    for depth in [63, 64, 100_000] {
        let open = "[".repeat(depth);
        let message = format!("{{\"y\":{open}{}}}", "]".repeat(depth));
        let found = read(&column(DataType::Utf8), message.as_bytes());
        assert_eq!(found.is_ok(), depth == 63, "{depth}");
        let open = "{\"a\":".repeat(depth);
        let message = format!("{{\"y\":{open}1{}}}", "}".repeat(depth));
        assert_eq!(
            read(&column(DataType::Utf8), message.as_bytes()).is_ok(),
            depth == 63
        );
    }
    assert_eq!(
        reason(DataType::Utf8, &format!("{{\"y\":{}", "[".repeat(65))),
        "nested deeper than 64 levels"
    );
}
