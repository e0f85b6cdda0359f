//! The app's articles, in an embedded database.

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

/// Slug → article as JSON.
const ARTICLES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("articles");

/// What the wiki is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Article {
    pub(super) id: u64,
    pub(super) author_id: u64,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) text: String,
}

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Database(Box<redb::Error>),
    #[error("an article is not what was stored: {0}")]
    Article(serde_json::Error),
}

/// redb has an error type per operation, which all become one.
impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The database. It lives in memory, so that every demo begins alike.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

impl Store {
    pub(super) fn with_examples() -> Result<Self, StoreError> {
        let store = Self { database: Database::builder().create_with_backend(InMemoryBackend::new())? };
        for (id, author_id, slug, title, text) in [
            (1, 1, "tea", "Tea", "Two minutes for green, four for black. Nobody agrees on the milk."),
            (2, 1, "bread", "Bread", "Flour, water, salt and more patience than one has."),
            (3, 2, "rain", "Rain", "It comes from above, mostly on days without an umbrella."),
        ] {
            store.put(&Article {
                id,
                author_id,
                slug: slug.into(),
                title: title.into(),
                text: text.into(),
            })?;
        }
        Ok(store)
    }

    pub(super) fn get(&self, slug: &str) -> Result<Option<Article>, StoreError> {
        let transaction = self.database.begin_read()?;
        let found = transaction.open_table(ARTICLES)?.get(slug)?;
        found.map(|json| read(json.value())).transpose()
    }

    pub(super) fn all(&self) -> Result<Vec<Article>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(ARTICLES)?;
        table.iter()?.map(|row| read(row?.1.value())).collect()
    }

    pub(super) fn put(&self, article: &Article) -> Result<(), StoreError> {
        let json = serde_json::to_vec(article).map_err(StoreError::Article)?;
        let transaction = self.database.begin_write()?;
        transaction.open_table(ARTICLES)?.insert(article.slug.as_str(), json.as_slice())?;
        transaction.commit()?;
        Ok(())
    }
}

fn read(json: &[u8]) -> Result<Article, StoreError> {
    serde_json::from_slice(json).map_err(StoreError::Article)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there() {
        let store = Store::with_examples().unwrap();
        let mut tea = store.get("tea").unwrap().unwrap();
        tea.title = "More tea".into();
        store.put(&tea).unwrap();
        assert_eq!(store.get("tea").unwrap(), Some(tea));
        assert_eq!(store.all().unwrap().len(), 3);
        assert_eq!(store.get("coffee").unwrap(), None);
    }
}
