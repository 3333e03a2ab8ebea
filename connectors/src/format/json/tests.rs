mod properties;
mod rejections;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampNanosecondType};
use engine::StreamSpec;

use crate::format::{Messages, decoder, encoder};

fn stream(fields: Vec<Field>, options: &[(&str, &str)]) -> StreamSpec {
    StreamSpec {
        name: "t".to_owned(),
        connector: "kafka".to_owned(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        schema: Arc::new(Schema::new(fields)),
        metadata: vec![],
        key: vec![],
    }
}

fn column(data_type: DataType) -> StreamSpec {
    stream(vec![Field::new("x", data_type, true)], &[])
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn read(stream: &StreamSpec, message: &[u8]) -> Result<RecordBatch, String> {
    let mut decoder = decoder(stream).expect("the stream can be decoded");
    let result = decoder.decode(message);
    let rows = decoder.take().expect("whole columns");
    assert_eq!(
        rows.num_rows(),
        usize::from(result.is_ok()),
        "a rejected message adds no row"
    );
    result.map(|()| rows)
}

fn write(stream: &StreamSpec, rows: &RecordBatch) -> Vec<String> {
    let mut messages = Messages::default();
    encoder(stream)
        .expect("encodes")
        .encode(rows, &mut messages)
        .expect("encodes");
    let text = |message: &[u8]| String::from_utf8(message.to_vec()).expect("UTF-8");
    messages.iter().map(text).collect()
}

/// What a message looks like after it was read and written.
fn echo(stream: &StreamSpec, message: &str) -> String {
    let rows = read(stream, message.as_bytes()).unwrap_or_else(|e| panic!("{message}: {e}"));
    write(stream, &rows).remove(0)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn every_type_is_read_and_written() {
    let point = DataType::Struct(
        vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", list(DataType::Utf8), true),
        ]
        .into(),
    );
    for (data_type, value, written) in [
        (
            DataType::Utf8,
            r#""a\"\\\/\b\f\n\r\t\u0041\ud83d\ude00é""#,
            "\"a\\\"\\\\/\\u0008\\u000c\\n\\r\\tA😀é\"",
        ),
        (DataType::Utf8, r#""""#, r#""""#),
        (DataType::Float64, "1", "1.0"),
        (DataType::Float64, "-0.1e1", "-1.0"),
        (DataType::Float64, "1e300", "1e+300"),
        (
            DataType::Float64,
            "123456789012345678901234567890",
            "1.2345678901234568e+29",
        ),
        (
            DataType::Float64,
            "0.1234567890123456789",
            "0.12345678901234568",
        ),
        (DataType::Float64, "-0.0", "-0.0"),
        (DataType::Float64, "4.9e-324", "5e-324"),
        (DataType::Float32, "16777217", "16777216.0"),
        (
            DataType::Int64,
            "-9223372036854775808",
            "-9223372036854775808",
        ),
        (DataType::Int64, "3.0", "3"),
        (DataType::Int64, "12e2", "1200"),
        (
            DataType::UInt64,
            "18446744073709551615",
            "18446744073709551615",
        ),
        (DataType::Int8, "-128", "-128"),
        (DataType::Boolean, "true", "true"),
        (DataType::Decimal128(10, 2), "12.345", "12.35"),
        (DataType::Decimal128(10, 2), "-12.345", "-12.35"),
        (DataType::Decimal128(10, 2), "0.004", "0.00"),
        (
            DataType::Decimal128(38, 4),
            "1234567890123456789012345678901234.5678",
            "1234567890123456789012345678901234.5678",
        ),
        (DataType::Decimal128(5, 0), "7e3", "7000"),
        (DataType::Date32, r#""2024-02-29""#, r#""2024-02-29""#),
        (
            timestamp(),
            r#""2024-01-01T09:30:00.123Z""#,
            r#""2024-01-01 09:30:00.123""#,
        ),
        (DataType::Binary, r#""Zm9vYg==""#, r#""Zm9vYg==""#),
        (
            point.clone(),
            r#"{"b":["u",null,"v"],"z":{"a":[1]},"a":1}"#,
            r#"{"a":1,"b":["u",null,"v"]}"#,
        ),
        (point, "null", "null"),
        (
            list(list(DataType::Int64)),
            "[[1,2],[],null]",
            "[[1,2],[],null]",
        ),
        (DataType::Utf8, "null", "null"),
    ] {
        let stream = column(data_type.clone());
        let message = format!(" {{ \"x\" : {value} }} ");
        assert_eq!(
            echo(&stream, &message),
            format!("{{\"x\":{written}}}"),
            "{data_type}"
        );
    }
}

#[test]
fn a_rejected_message_leaves_no_trace() {
    let stream = stream(
        vec![
            Field::new("a", list(DataType::Utf8), true),
            Field::new(
                "b",
                DataType::Struct(vec![Field::new("c", DataType::Utf8, true)].into()),
                true,
            ),
            Field::new("n", DataType::Int64, false),
        ],
        &[],
    );
    let mut decoder = decoder(&stream).expect("decodes");
    let good = br#"{"a":["x","y"],"b":{"c":"z"},"n":1}"#;
    let bad: [&[u8]; 5] = [
        br#"{"a":["x","y"],"b":{"c":"z"},"n":null}"#,
        br#"{"a":["x","y"],"b":{"c":"z"}}"#,
        br#"{"a":["x","y"],"b":{"c":"z"},"n":1}}"#,
        br#"{"a":["x","y",3],"b":{"c":"z"},"n":1}"#,
        br#"{"b":{"c":"z"},"n":1,"a":null"#,
    ];
    let mut reasons = vec![];
    for message in bad {
        decoder.decode(good).expect("good");
        reasons.push(decoder.decode(message).expect_err("bad"));
    }
    assert_eq!(reasons[0], "field 'n': is NULL, the column is NOT NULL");
    assert_eq!(reasons[1], "field 'n': is missing, the column is NOT NULL");
    let rows = decoder.take().expect("whole");
    assert_eq!(rows.num_rows(), 5);
    assert!(rows.schema().field(2).is_nullable());
    let text = std::str::from_utf8(good).expect("UTF-8");
    assert_eq!(write(&stream, &rows), vec![text.to_owned(); 5]);
    assert_eq!(decoder.take().expect("empty").num_rows(), 0);
    decoder.decode(good).expect("good again");
    decoder
        .decode(br#"{"b":{},"n":2}"#)
        .expect("a STRUCT without its field");
    let rows = write(&stream, &decoder.take().expect("whole"));
    assert_eq!(rows, [text, r#"{"a":null,"b":{"c":null},"n":2}"#]);
}

#[test]
fn fields_are_found_in_any_order() {
    let names = (0..12).map(|i| format!("f{i}")).collect::<Vec<_>>();
    let fields = names
        .iter()
        .map(|name| Field::new(name, DataType::Int64, true))
        .collect();
    let stream = stream(fields, &[]);
    let mut decoder = decoder(&stream).expect("decodes");
    for shift in [0, 5, 5, 11, 0] {
        let mut members = vec!["\"unknown\":[{}]".to_owned()];
        for i in 0..11 {
            let i = (i + shift) % 12;
            members.push(format!("\"f{i}\":{i}"));
        }
        members.rotate_left(shift);
        decoder
            .decode(format!("{{{}}}", members.join(",")).as_bytes())
            .expect("valid");
        let rows = decoder.take().expect("whole");
        for i in 0..12 {
            let column = rows.column(i).as_primitive::<Int64Type>();
            assert_eq!(column.is_valid(0), i != (11 + shift) % 12, "{i} {shift}");
            assert!(column.is_null(0) || column.value(0) == i as i64);
        }
    }
}

#[test]
fn timestamps_follow_the_option() {
    let field = || vec![Field::new("x", timestamp(), true)];
    let with = |format| stream(field(), &[("json.timestamp-format.standard", format)]);
    for (format, value, written) in [
        (
            "SQL",
            r#""2024-01-01T10:30:00.5+01:00""#,
            r#""2024-01-01 09:30:00.5""#,
        ),
        (
            "ISO-8601",
            r#""2024-01-01 09:30:00.000000001""#,
            r#""2024-01-01T09:30:00.000000001""#,
        ),
        ("epoch-seconds", "1704101400.25", "1704101400"),
        ("epoch-millis", "1704101400123", "1704101400123"),
        ("epoch-micros", "-1", "-1"),
        ("epoch-nanos", "9223372036854775807", "9223372036854775807"),
    ] {
        let message = format!("{{\"x\":{value}}}");
        assert_eq!(
            echo(&with(format), &message),
            format!("{{\"x\":{written}}}"),
            "{format}"
        );
    }
    let rows = read(&with("epoch-seconds"), br#"{"x":1704101400.25}"#).expect("valid");
    let value = rows
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .value(0);
    assert_eq!(value, 1_704_101_400_250_000_000);
    assert!(read(&with("epoch-millis"), br#"{"x":"2024-01-01 09:30:00"}"#).is_err());
    assert!(read(&with("epoch-seconds"), br#"{"x":1e12}"#).is_err());
    let error = decoder(&with("RFC")).expect_err("unknown").chain();
    assert!(error.contains("expected 'SQL', 'ISO-8601'"), "{error}");
}

#[test]
fn formats_and_options_that_do_not_exist_are_refused() {
    let field = || vec![Field::new("x", DataType::Utf8, true)];
    let error = decoder(&stream(field(), &[("format", "avro")])).expect_err("unknown");
    assert_eq!(
        error.chain(),
        "table 't' with connector 'kafka': option 'format' is 'avro', the formats are 'json'"
    );
    let error =
        encoder(&stream(field(), &[("json.timestamp-format", "SQL")])).expect_err("unknown");
    assert!(
        error
            .chain()
            .contains("did you mean 'json.timestamp-format.standard'?")
    );
    let odd = column(DataType::Duration(TimeUnit::Second));
    assert!(
        decoder(&odd)
            .expect_err("type")
            .to_string()
            .contains("cannot read")
    );
    assert!(
        encoder(&odd)
            .expect_err("type")
            .to_string()
            .contains("cannot write")
    );
}

#[test]
fn numbers_that_json_lacks_are_written_as_null() {
    let stream = column(DataType::Float64);
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2];
    let array = arrow::array::Float64Array::from_iter_values(values);
    let rows = RecordBatch::try_new(Arc::clone(&stream.schema), vec![Arc::new(array)]);
    let written = write(&stream, &rows.expect("one column"));
    assert_eq!(
        written[..3],
        ["{\"x\":null}", "{\"x\":null}", "{\"x\":null}"]
    );
    assert_eq!(written[3], "{\"x\":0.30000000000000004}");
}

fn wide() -> StreamSpec {
    let inner = DataType::Struct(
        vec![
            Field::new("a", DataType::Float64, true),
            Field::new("b", DataType::Utf8, false),
        ]
        .into(),
    );
    stream(
        vec![
            Field::new("a", DataType::Float64, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("c", DataType::Int64, true),
            Field::new("d", inner.clone(), true),
            Field::new("e", list(inner), true),
        ],
        &[],
    )
}

#[test]
fn absent_structs_are_null() {
    let rows = read(&wide(), br#"{"d":null,"e":[null,{"b":"x"}]}"#).expect("valid");
    let parent: &StructArray = rows.column(3).as_struct();
    assert!(parent.is_null(0));
    assert_eq!(rows.column(4).as_list::<i32>().value(0).null_count(), 1);
    let error = read(&wide(), br#"{"d":{"a":1}}"#).expect_err("b is NOT NULL");
    assert_eq!(error, "field 'd.b': is missing, the column is NOT NULL");
}
