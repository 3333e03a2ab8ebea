//! The description that utoipa gathers from the handlers, and what it cannot know: that problems
//! have a content type of their own, and that JSON is tagged.

use super::etag;
use utoipa::openapi::{Content, OpenApi, RefOr, Response};

/// How a problem is referred to, what utoipa takes it for, and what it is.
const PROBLEM: &str = "#/components/schemas/Problem";
const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// The description with every problem told as one, and the tags of what can be asked for again.
pub(super) fn completed(mut description: OpenApi) -> OpenApi {
    for item in description.paths.paths.values_mut() {
        item.get.as_mut().into_iter().for_each(etag::describe);
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    tell(response);
                }
            }
        }
    }
    description
}

fn tell(response: &mut Response) {
    let told = response.content.get(JSON).is_some_and(is_problem);
    if told && let Some(content) = response.content.swap_remove(JSON) {
        response.content.insert(PROBLEM_JSON.to_owned(), content);
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(content) = content else {
        return false;
    };
    matches!(&content.schema, Some(RefOr::Ref(reference)) if reference.ref_location == PROBLEM)
}
