use std::sync::Arc;

use arrow::datatypes::Schema;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    EarliestOffset,
    LatestOffset,
}

#[derive(Debug, Deserialize)]
struct Sample {
    topic: Text,
    #[serde(rename = "scan.mode")]
    mode: Option<Mode>,
    #[serde(rename = "rolling.size")]
    size: Option<Size>,
    interval: Option<Duration>,
    retries: Option<u32>,
    ratio: Option<f64>,
    on: Option<bool>,
    password: Option<Text>,
    #[serde(rename = "properties.*")]
    properties: Properties,
}

fn stream(options: &[(&str, &str)]) -> StreamSpec {
    StreamSpec {
        name: "trades".to_owned(),
        connector: "sample".to_owned(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        schema: Arc::new(Schema::empty()),
        metadata: vec![],
        key: vec![],
    }
}

fn with(options: &[(&str, &str)]) -> Result<Sample> {
    let environment = |name: &str| (name == "SITE").then(|| "hush".to_owned());
    read(&stream(options), |_| true, &environment)
}

fn refusal(options: &[(&str, &str)]) -> String {
    with(options)
        .expect_err("options should be refused")
        .to_string()
}

#[test]
fn every_type_is_read() {
    let sample = with(&[
        ("topic", "t"),
        ("scan.mode", "latest-offset"),
        ("rolling.size", "64 MB"),
        ("interval", "5 s"),
        ("retries", "3"),
        ("ratio", "0.25"),
        ("on", "TRUE"),
        ("properties.group.id", "g"),
        ("properties.sasl.username", "u"),
    ])
    .expect("options are valid");
    assert_eq!(&*sample.topic, "t");
    assert_eq!(sample.mode, Some(Mode::LatestOffset));
    assert_eq!(sample.size, Some(Size(64 << 20)));
    assert_eq!(sample.interval.map(|d| d.as_secs()), Some(5));
    assert_eq!(
        (sample.retries, sample.ratio, sample.on),
        (Some(3), Some(0.25), Some(true))
    );
    assert_eq!(&*sample.properties["group.id"], "g");
    assert_eq!(
        format!("{:?}", sample.properties),
        r#"{"group.id": "g", "sasl.username": ***}"#
    );
    assert!(
        with(&[("topic", "t")])
            .expect("optional")
            .properties
            .is_empty()
    );
}

#[test]
fn wrong_options_name_key_value_and_remedy() {
    let table = "table 'trades' with connector 'sample'";
    let missing = "option 'topic' is missing; write 'topic' = '…' in WITH";
    assert_eq!(refusal(&[]), format!("{table}: {missing}"));
    assert_eq!(
        refusal(&[("topik", "t")]),
        format!("{table}: no option is called 'topik'; did you mean 'topic'?")
    );
    assert!(refusal(&[("zzzzzzzz", "t")]).contains("it has topic, scan.mode"));
    assert_eq!(
        refusal(&[("topic", "t"), ("interval", "5")]),
        format!(
            "{table}: option 'interval' is '5', expected {}",
            Duration::EXPECTED
        )
    );
    assert_eq!(
        refusal(&[("topic", "t"), ("retries", "-1")]),
        format!("{table}: option 'retries' is '-1', expected a whole number from 0 to 4294967295")
    );
    assert_eq!(
        refusal(&[("topic", "t"), ("scan.mode", "newest")]),
        format!(
            "{table}: option 'scan.mode' is 'newest', expected 'earliest-offset' or 'latest-offset'"
        )
    );
    assert!(refusal(&[("topic", "t"), ("on", "yes")]).contains("'true' or 'false'"));
    assert!(refusal(&[("topic", "t"), ("ratio", "NaN")]).contains("a number"));
}

#[test]
fn variables_are_replaced_and_hidden() {
    let sample = with(&[("topic", "a-${SITE}-b"), ("password", "p")]).expect("valid");
    assert_eq!(&*sample.topic, "a-hush-b");
    assert_eq!(sample.password.as_deref(), Some("p"));
    let shown = format!("{sample:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("\"p\""),
        "{shown}"
    );
    assert!(refusal(&[("topic", "${NOWHERE}")]).contains("variable NOWHERE, which is not set"));
    assert!(refusal(&[("topic", "${")]).contains("without its '}'"));
    assert!(refusal(&[("topic", "${A B}")]).contains("not the name of a variable"));
    let hidden = refusal(&[("topic", "t"), ("retries", "${SITE}")]);
    assert!(
        hidden.contains("'***'") && !hidden.contains("hush"),
        "{hidden}"
    );
}

#[test]
fn nearest_names_only_what_is_near() {
    assert_eq!(nearest("kafak", ["kafka", "parquet"]), Some("kafka"));
    assert_eq!(nearest("Parqet", ["kafka", "parquet"]), Some("parquet"));
    assert_eq!(nearest("redis", ["kafka", "parquet"]), None);
}

#[test]
fn every_table_may_say_when_its_rows_are_shown() {
    for emit in ["now", "after-commit"] {
        let sample = with(&[("topic", "t"), ("emit", emit)]).expect("good options");
        assert_eq!(&*sample.topic, "t");
    }
    let refused = refusal(&[("topic", "t"), ("emit", "later")]);
    assert!(
        refused.contains("option 'emit' is 'later', expected 'now' or 'after-commit'"),
        "{refused}"
    );
}
