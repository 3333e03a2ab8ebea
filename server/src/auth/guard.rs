//! The layer around all routes: who asks, from where, how often, with which right. What it does
//! not let through reaches no handler, and its body is not read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limit::Left;
use super::policy::{self, Needs};
use super::scope::Principal;
use super::{Access, Denied, origin};
use crate::api::Problem;

/// How a browser says which key it has where it may not set `Authorization`.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a principal has left.
const LEFT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// Lets a request through to its handler, with its [`Principal`], or says why not.
pub(crate) async fn guard(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().cloned() else {
        // Nothing is there, which is told to everyone.
        return next.run(request).await;
    };
    let needs = match policy::needs(request.method(), path.as_str()) {
        Some(needs) => needs,
        None if policy::knows(path.as_str()) => {
            let told = format!("'{}' does not know this method", request.uri().path());
            return Problem::method_not_allowed(told).into_response();
        }
        None => {
            tracing::error!(path = path.as_str(), "a route without a rule is nobody's");
            return Denied::Nobody.into_response();
        }
    };
    if needs == Needs::Nothing {
        return next.run(request).await;
    }
    let asked = Asked {
        method: request.method(),
        headers: request.headers(),
        ticket: ticket(&request),
        address: address(&request),
    };
    let (principal, left) = match Box::pin(admit(&access, asked, needs)).await {
        Ok(admitted) => admitted,
        Err(denied) => return denied.into_response(),
    };
    tracing::debug!(principal = %principal.name, id = %principal.id, "let through");
    request.extensions_mut().insert(principal);
    let mut response = next.run(request).await;
    let numbers = [u64::from(left.limit), u64::from(left.remaining), left.reset];
    for (name, number) in LEFT.into_iter().zip(numbers) {
        response
            .headers_mut()
            .insert(name, HeaderValue::from(number));
    }
    response
}

/// Where a request comes from. One that came over no network comes from here.
fn address(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| {
        peer.ip()
    })
}

/// What a request says of who asks.
struct Asked<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
    ticket: Option<&'r str>,
    address: IpAddr,
}

/// Who asks, where they may.
async fn admit(
    access: &Access,
    asked: Asked<'_>,
    needs: Needs,
) -> Result<(Principal, Left), Denied> {
    let Asked {
        method,
        headers,
        ticket,
        address,
    } = asked;
    let (scope, tickets) = match needs {
        Needs::Nothing => return Err(Denied::Nobody),
        Needs::Scope(scope) => (scope, false),
        Needs::ScopeOrTicket(scope) | Needs::Session(scope) => (scope, true),
    };
    if !access.required() && !access.is_open() && !origin::is_for_this_machine(headers) {
        return Err(Denied::Host);
    }
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if (changes || headers.contains_key(UPGRADE)) && !access.origins().allow(headers) {
        return Err(Denied::Origin);
    }
    let named: Arc<str> = address.to_string().into();
    let identified = match (presented(headers), ticket.filter(|_| tickets)) {
        (Some(token), _) => access.identify(token).await,
        (None, Some(ticket)) => access.redeem(ticket),
        (None, None) if !access.required() => Ok(Principal::anybody(&named)),
        (None, None) if matches!(needs, Needs::Session(_)) => {
            let left = access.count(&named)?;
            return Ok((Principal::unknown(&named), left));
        }
        (None, None) => Err(Denied::Nobody),
    };
    let principal = match identified {
        Ok(principal) => principal,
        Err(denied) => {
            // Whoever guesses is slowed down as well.
            access.count(&named)?;
            return Err(denied);
        }
    };
    let left = access.count(&principal.id)?;
    principal.require(scope)?;
    Ok((principal, left))
}

/// The key that a request presents.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let bearer = text(&AUTHORIZATION).map(|value| match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    });
    bearer.or_else(|| text(&API_KEY))
}

fn ticket(request: &Request) -> Option<&str> {
    let mut pairs = request.uri().query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("ticket="))
}

impl Access {
    /// Counts a request, or a frame of a live connection.
    pub(crate) fn count(&self, principal: &Arc<str>) -> Result<Left, Denied> {
        self.0.requests.take(principal).map_err(Denied::Often)
    }

    fn redeem(&self, ticket: &str) -> Result<Principal, Denied> {
        let redeemed = self.0.tickets.redeem(ticket, Instant::now());
        redeemed.ok_or(Denied::Wrong)
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        // A route that the guard does not stand before is nobody's.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Denied::Nobody)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let unauthorized = |detail: &str| {
            let title = "Say who you are";
            Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
        };
        let forbidden =
            |detail: String| Self::new(StatusCode::FORBIDDEN, "forbidden", "You may not", detail);
        match denied {
            Denied::Nobody => unauthorized(
                "send a key: 'Authorization: Bearer ms_…' or 'X-API-Key: ms_…'; `millstream keys \
                 create` makes one",
            ),
            Denied::Wrong => unauthorized(
                "the key or ticket is not known, was revoked, or is no longer good: take another",
            ),
            Denied::Scope(scope) => forbidden(format!(
                "this needs the right '{scope}', which the key does not have"
            )),
            Denied::Origin => forbidden(
                "the page that asks is not among the allowed origins: add its origin to the \
                 setting origins"
                    .to_owned(),
            ),
            Denied::Host => forbidden(
                "this server is for its own machine: ask for it as localhost or 127.0.0.1"
                    .to_owned(),
            ),
            Denied::Often(wait) => {
                let detail = format!("come again in {} s", seconds(wait));
                let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "Too many requests");
                Self::new(status, "rate-limit", title, detail)
            }
            Denied::Failed(error) => error.into(),
        }
    }
}

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    let up = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + up).max(1)
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let header = match &self {
            Self::Nobody | Self::Wrong => {
                let value = HeaderValue::from_static("Bearer realm=\"millstream\"");
                Some((WWW_AUTHENTICATE, value))
            }
            Self::Often(wait) => Some((RETRY_AFTER, HeaderValue::from(seconds(*wait)))),
            _ => None,
        };
        let mut response = Problem::from(self).into_response();
        response.headers_mut().extend(header);
        response
    }
}
