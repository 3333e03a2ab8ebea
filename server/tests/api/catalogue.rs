//! Tables of running jobs, and the indicators.

use serde_json::{Value, json};

use super::{Api, ENDLESS};

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_running_jobs_are_described() {
    let api = Api::new().await;
    let id = api.submit("one", ENDLESS).await;
    api.wait(&id, |job| job["state"] == "running").await;
    let list = api.get("/api/v1/tables").await.json(200);
    let names: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["prices", "trades"]);

    let trades = api.get("/api/v1/tables/trades").await.json(200);
    assert_eq!(
        (&trades["job"], &trades["connector"]),
        (&json!("one"), &json!("market"))
    );
    assert_eq!(trades["event_time"], "ts");
    assert_eq!(trades["options"]["rate"], "2000");
    assert_eq!(trades["output"], Value::Null);
    assert!(trades["input"]["arrived"].is_u64());
    let column = |name: &str| {
        let columns = trades["columns"].as_array().unwrap();
        columns
            .iter()
            .find(|column| column["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(column("symbol")["type"], "STRING");
    assert_eq!(column("ts")["type"], "TIMESTAMP(9)");
    let computed = column("notional");
    assert_eq!(
        (&computed["type"], &computed["origin"]),
        (&json!("DOUBLE"), &json!("computed"))
    );
    let prices = api.get("/api/v1/tables/prices").await.json(200);
    assert_eq!(prices["input"], Value::Null);
    assert!(prices["output"]["rows"].is_u64());

    // A second job with tables of these names: they are told apart by the job.
    api.submit("two", ENDLESS).await;
    let both = api.get("/api/v1/tables/trades").await.problem(409);
    let detail = both["detail"].as_str().unwrap();
    assert!(detail.contains("'one.trades' or 'two.trades'"), "{detail}");
    assert_eq!(
        api.get("/api/v1/tables/two.trades").await.json(200)["job"],
        "two"
    );

    api.delete("/api/v1/jobs/one").await;
    api.delete("/api/v1/jobs/two").await;
    assert_eq!(
        api.get("/api/v1/tables").await.json(200)["items"],
        json!([])
    );
    api.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indicator_tells_how_it_is_called() {
    let api = Api::new().await;
    let rsi = api.get("/api/v1/indicators/RSI").await.json(200);
    assert_eq!(
        (&rsi["name"], &rsi["call"]),
        (&json!("rsi"), &json!("rsi(close, 14)"))
    );
    assert_eq!(
        (&rsi["warm_up"], &rsi["group"]),
        (&json!(14), &json!("momentum"))
    );
    assert_eq!(rsi["parameters"][0]["default"], 14.0);
    assert_eq!(api.get("/api/v1/indicators/ta_rsi").await.json(200), rsi);
    api.close().await;
}
