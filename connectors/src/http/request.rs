//! One request and what its answer means.

use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::stream::without_secrets;
use engine::{Error, Result, StreamSpec};
use futures::StreamExt;
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    RETRY_AFTER,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};

use super::Options;
use crate::options::{Properties, invalid};
use crate::tls;

/// Redirects that are followed in one request.
const MOST_REDIRECTS: usize = 5;
/// Longest `Retry-After` that is waited for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// Largest answer where the options say nothing.
const BODY_LIMIT: u64 = 64 << 20;

/// A URL that can be asked for, with what the last answer said about its version.
#[derive(Debug)]
pub(super) struct Request {
    client: Client,
    url: Url,
    headers: HeaderMap,
    limit: u64,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The body.
    Body(Vec<u8>),
    /// The beginning of a body that is larger than the limit.
    TooLarge(Vec<u8>),
    /// Nothing new since the last body.
    Unchanged,
    /// It may work later: why not now, and how long the server wants to be left alone.
    Later(String, Option<Duration>),
}

impl Request {
    pub(super) fn new(stream: &StreamSpec, options: &Options) -> Result<Self> {
        let url = Url::parse(&options.url)
            .map_err(|error| invalid(stream, "url", &format!("is not a URL: {error}")))?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(invalid(
                stream,
                "url",
                "must begin with 'https://' or 'http://'",
            ));
        }
        let headers = headers(stream, &options.headers)?;
        let timeout = options
            .timeout
            .map_or(Duration::from_secs(30), |timeout| timeout.0);
        let guarded = !headers.is_empty();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::client()?)
            .user_agent(concat!("millstream/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout)
            .redirect(Policy::custom(move |attempt| redirect(attempt, guarded)));
        if is_local(&url) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| Error::internal("cannot set up an HTTP client").caused_by(error))?;
        let limit = options.body_limit.map_or(BODY_LIMIT, |limit| limit.0);
        Ok(Self {
            client,
            url,
            headers,
            limit,
            etag: None,
            modified: None,
        })
    }

    /// Asks once. An error is one that asking again does not mend.
    pub(super) async fn send(&mut self) -> Result<Answer> {
        let mut request = self
            .client
            .get(self.url.clone())
            .headers(self.headers.clone());
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &self.modified {
            request = request.header(IF_MODIFIED_SINCE, modified);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return self.unanswered(error),
        };
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Unchanged);
        }
        if status.is_success() {
            return self.body(response).await;
        }
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || passing.contains(&status) {
            let pause = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let pause = pause.and_then(|text| retry_after(text, Utc::now()));
            return Ok(Answer::Later(format!("the server answers {status}"), pause));
        }
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; check the key in 'url' or 'headers.*'"
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => "; check 'url'",
            _ => "",
        };
        let shown = self.shown();
        Err(Error::invalid(format!(
            "{shown} answers {status}, asking again would not help{remedy}"
        )))
    }

    fn unanswered(&self, error: reqwest::Error) -> Result<Answer> {
        // The URL may hold a secret, so the error must not show it.
        let error = error.without_url();
        if error.is_redirect() || error.is_builder() {
            let shown = self.shown();
            return Err(Error::invalid(format!("cannot ask {shown}")).caused_by(error));
        }
        Ok(Answer::Later(chain(&error), None))
    }

    async fn body(&mut self, response: Response) -> Result<Answer> {
        let header = |name| response.headers().get(name).cloned();
        let (etag, modified) = (header(ETAG), header(LAST_MODIFIED));
        let mut body = vec![];
        let mut chunks = response.bytes_stream();
        let mut answer = Answer::Body(vec![]);
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => body.extend_from_slice(&chunk),
                Err(error) => {
                    let error = error.without_url();
                    return Ok(Answer::Later(chain(&error), None));
                }
            }
            if body.len() as u64 > self.limit {
                answer = Answer::TooLarge(vec![]);
                break;
            }
        }
        // Only now: an answer that broke off is asked for again as a whole.
        self.etag = etag;
        self.modified = modified;
        if let Answer::Body(bytes) | Answer::TooLarge(bytes) = &mut answer {
            *bytes = body;
        }
        Ok(answer)
    }

    /// The largest body that is taken, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The URL as logs may show it.
    pub(super) fn shown(&self) -> String {
        without_secrets(self.url.as_str())
    }
}

fn headers(stream: &StreamSpec, options: &Properties) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in options {
        let key = format!("headers.{name}");
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(stream, &key, "is not the name of a header"))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid(stream, &key, "has a value that no header can have"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn redirect(attempt: Attempt<'_>, guarded: bool) -> reqwest::redirect::Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("more than 5 redirects");
    }
    let (from, to) = (attempt.previous().last(), attempt.url());
    if from.is_some_and(|from| from.scheme() == "https" && to.scheme() != "https") {
        return attempt.error("a redirect leads away from https");
    }
    let origin = |url: &Url| {
        (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    if guarded && from.is_some_and(|from| origin(from) != origin(to)) {
        return attempt.error("a redirect would show 'headers.*' to another host; ask that one");
    }
    attempt.follow()
}

pub(super) fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What `Retry-After` says: seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let pause = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        // A date in the past means now.
        date.signed_duration_since(now).to_std().unwrap_or_default()
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-03-02T10:00:00Z")
            .unwrap()
            .to_utc();
        let pause = |text| retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(pause("7"), Some(7));
        assert_eq!(pause("Mon, 02 Mar 2026 10:00:30 GMT"), Some(30));
        assert_eq!(pause("Mon, 02 Mar 2026 09:00:30 GMT"), Some(0));
        assert_eq!(pause("999999999"), Some(3600));
        assert_eq!(pause("soon"), None);
        assert_eq!(pause("-1"), None);
    }

    #[test]
    fn only_this_machine_is_local() {
        let local = |url| is_local(&Url::parse(url).unwrap());
        assert!(local("http://127.0.0.1:80/"));
        assert!(local("http://[::1]:80/"));
        assert!(local("http://localhost/"));
        assert!(!local("http://127.0.0.1.example.com/"));
        assert!(!local("http://10.0.0.1/"));
    }
}
