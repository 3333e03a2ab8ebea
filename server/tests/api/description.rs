//! The `OpenAPI` description: every change of a route shows in `openapi.json`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Api;

/// Set, the test rewrites the file.
const ACCEPT: &str = "OPENAPI_ACCEPT";

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_as_agreed() {
    let api = Api::new().await;
    let description = api.get("/api/v1/openapi.json").await.json(200);
    let text = serde_json::to_string_pretty(&description).unwrap() + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(&file, &text).unwrap();
    }
    let agreed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        agreed == text,
        "the API has changed: {ACCEPT}=1 rewrites {}",
        file.display()
    );

    // Whatever is referred to is described.
    let mut references = vec![];
    collect(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let place = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(place).is_some(), "{reference}");
    }
    // A problem is told as one.
    for operation in description["paths"].as_object().unwrap().values() {
        for method in operation.as_object().unwrap().values() {
            for (status, response) in method["responses"].as_object().unwrap() {
                let problem = &response["content"]["application/problem+json"];
                let health = response["content"].to_string().contains("Health");
                assert_eq!(
                    problem.is_object(),
                    status.as_str() >= "4" && !health,
                    "{method}"
                );
            }
        }
    }
    api.close().await;
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "$ref" => references.push(text.clone()),
                    value => collect(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_need_no_network() {
    let api = Api::new().await;
    let page = api.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type").starts_with("text/html"),
        "{:?}",
        page.headers
    );
    assert!(
        !page.text.contains("src=\"http") && !page.text.contains("href=\"http"),
        "{}",
        page.text
    );
    let settings = api.get("/docs/swagger-initializer.js").await;
    assert!(
        settings.text.contains("/api/v1/openapi.json"),
        "{}",
        settings.text
    );
    for part in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        assert_eq!(
            api.get(&format!("/docs/{part}")).await.status,
            200,
            "{part}"
        );
    }
    assert_eq!(api.get("/docs").await.status.as_u16() / 100, 3);
    api.close().await;
}
