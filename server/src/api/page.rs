//! Lists in pages: `?limit=…&cursor=…`, and `next` where there is more.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;

/// Items of a page, where nothing is said.
const LIMIT: usize = 100;
/// Items of a page at most.
const MOST: usize = 1_000;

/// Which page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Items at most: 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<usize>,
    /// The `next` of the page before.
    #[param(nullable = false, pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The `cursor` of the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

impl Page {
    /// The page of items that are sorted by a key of their own.
    pub(crate) fn of<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<List<T>, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=MOST).contains(&limit) {
            let message = format!("limit is {limit}, expected 1 to {MOST}");
            return Err(Problem::invalid(message));
        }
        let after = self.cursor.as_deref().map(decode).transpose()?;
        let follows = |item: &T| after.as_ref().is_none_or(|after| key(item) > *after);
        let mut rest = items.into_iter().filter(follows);
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let last = items.last().filter(|_| more);
        Ok(List {
            next: last.map(|last| BASE64_URL_SAFE_NO_PAD.encode(key(last))),
            items,
        })
    }
}

impl<T> List<T> {
    /// The same page of something else.
    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> List<U> {
        List {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

fn decode(cursor: &str) -> Result<String, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Problem::invalid("the cursor is none: take the `next` of the page before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, cursor: Option<String>) -> Page {
        Page { limit, cursor }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let items: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let (mut seen, mut cursor, mut pages) = (vec![], None, 0);
        loop {
            let list = page(Some(2), cursor)
                .of(items.clone(), String::clone)
                .unwrap();
            seen.extend(list.items);
            pages += 1;
            cursor = list.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (items, 3));
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let items = ["a".to_owned(), "b".to_owned()];
        let list = page(Some(2), None).of(items, String::clone).unwrap();
        assert_eq!((list.items.len(), list.next), (2, None));
    }

    #[test]
    fn bad_limits_and_cursors_are_refused() {
        for (limit, cursor) in [
            (Some(0), None),
            (Some(1_001), None),
            (None, Some("%".to_owned())),
            (None, Some("_w".to_owned())),
        ] {
            let refused = page(limit, cursor).of(vec![String::new()], String::clone);
            assert_eq!(refused.unwrap_err().status, 400);
        }
    }
}
