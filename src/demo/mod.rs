//! The demo's example app: a small wiki over an embedded store, deliberately slow. It knows nothing of a cache but
//! one thing: when an article has changed, it says so by a signed webhook.

mod notify;
mod pages;
mod store;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use store::{Article, Store, StoreError};

pub use notify::Notify;

/// How long the app takes for a page: what many apps need for a few queries and a template.
const THINKING: Duration = Duration::from_millis(400);

#[derive(Clone, Debug)]
struct App {
    store: Arc<Store>,
    notify: Arc<Notify>,
}

/// Serves the app until the future is dropped. Changes are told to `notify`.
///
/// # Errors
/// When its store cannot be made, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    notify: Notify,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let app = App { store: Arc::new(Store::with_examples()?), notify: Arc::new(notify) };
    let router = Router::new()
        .route("/", get(list))
        .route("/articles/{slug}", get(article).post(save))
        .route("/articles/{slug}/edit", get(edit))
        .route("/api/articles/{id}", get(api_article))
        .route("/api/users/{id}", get(api_user))
        .fallback(|| async { (StatusCode::NOT_FOUND, Html(pages::not_found())) })
        .with_state(app);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn think() {
    tokio::time::sleep(THINKING).await;
}

async fn list(State(app): State<App>) -> Result<Html<String>, Oops> {
    think().await;
    Ok(Html(pages::list(&app.store.all()?)))
}

async fn article(State(app): State<App>, Path(slug): Path<String>) -> Result<Html<String>, Oops> {
    think().await;
    let article = app.store.get(&slug)?.ok_or(Oops::NotFound)?;
    Ok(Html(pages::article(&article)))
}

async fn api_article(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Article>, Oops> {
    think().await;
    let article = app.store.all()?.into_iter().find(|article| article.id == id);
    Ok(Json(article.ok_or(Oops::NotFound)?))
}

/// Who wrote what; `?page=` shows one article at a time.
async fn api_user(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Oops> {
    think().await;
    let articles: Vec<_> = app.store.all()?.into_iter().filter(|article| article.author_id == id).collect();
    let shown = articles.get(page.page.unwrap_or(1).saturating_sub(1)).ok_or(Oops::NotFound)?;
    Ok(Json(json!({ "id": id, "articles": articles.len(), "article": shown.title })))
}

#[derive(Deserialize)]
struct Page {
    page: Option<usize>,
}

async fn edit(State(app): State<App>, Path(slug): Path<String>) -> Result<Html<String>, Oops> {
    let article = app.store.get(&slug)?.ok_or(Oops::NotFound)?;
    Ok(Html(pages::edit(&article)))
}

/// The edit form. Both may be left out, for those who edit with curl.
#[derive(Deserialize)]
struct Edit {
    title: Option<String>,
    text: Option<String>,
}

/// Saves, tells what has changed, and shows the article again: by then the purge is done.
async fn save(
    State(app): State<App>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    Form(edit): Form<Edit>,
) -> Result<Response, Oops> {
    let before = app.store.get(&slug)?.ok_or(Oops::NotFound)?;
    let after = Article {
        title: edit.title.unwrap_or_else(|| before.title.clone()),
        text: edit.text.unwrap_or_else(|| before.text.clone()),
        ..before.clone()
    };
    app.store.put(&after)?;
    let told = app.notify.article_updated(&before, &after).await;
    let from_a_browser = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    Ok(if from_a_browser {
        Redirect::to(&format!("/articles/{slug}")).into_response()
    } else {
        format!("saved; {told}\n").into_response()
    })
}

/// What can go wrong.
enum Oops {
    NotFound,
    Store(StoreError),
}

impl From<StoreError> for Oops {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        match self {
            Oops::NotFound => (StatusCode::NOT_FOUND, Html(pages::not_found())).into_response(),
            Oops::Store(error) => {
                tracing::error!(%error, "the example app's store failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
