//! Lists in pages.

use serde_json::Value;

use super::{Api, ENDLESS};

async fn all(api: &Api, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (vec![], String::new());
    loop {
        let page = api
            .get(&format!("{path}?limit={limit}{cursor}"))
            .await
            .json(200);
        let found = page["items"].as_array().unwrap();
        assert!((1..=limit).contains(&found.len()));
        items.extend(found.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_together_are_the_list() {
    let api = Api::new().await;
    let few = ENDLESS.replace("'2000'", "'2000', 'rows' = '5'");
    let mut ids = vec![];
    for name in ["e", "d", "c", "b", "a"] {
        ids.push(api.submit(name, &few).await);
    }
    let listed = all(&api, "/api/v1/jobs", 2).await;
    let listed: Vec<&str> = listed
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ids);

    let name = |indicator: &Value| indicator["name"].as_str().unwrap().to_owned();
    let paged: Vec<String> = all(&api, "/api/v1/indicators", 7)
        .await
        .iter()
        .map(name)
        .collect();
    let whole = api.get("/api/v1/indicators?limit=1000").await.json(200);
    let whole: Vec<String> = whole["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect();
    assert_eq!(paged, whole);
    assert_eq!(whole.len(), engine::indicator::catalog().len());
    api.close().await;
}
