//! The parameters of a query: whatever is there but once, is given but once.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;

use super::problem::Problem;

/// A query as its handler gets it.
pub(super) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The names and values, in the order they were given.
///
/// # Errors
/// 400 if it cannot be read.
pub(super) fn pairs(query: Pairs) -> Result<Vec<(String, String)>, Problem> {
    let Query(pairs) = query.map_err(|rejection| invalid(rejection.body_text()))?;
    Ok(pairs)
}

/// Notes the value of a parameter.
///
/// # Errors
/// 400 if it has one: whoever gives two means both, or does not know which.
pub(super) fn once<T>(known: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match known.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name:?} is given twice"))),
    }
}

/// 400, and what to do.
pub(super) fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
