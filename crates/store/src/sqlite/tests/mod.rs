//! What only this store promises, and the laws of all stores.

mod laws;

use std::path::PathBuf;
use std::sync::Arc;

use super::SqliteStore;
use crate::{ConnectOptions, Store};

/// A folder for one file, removed at the end.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("tests can write to the temporary folder"))
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("tasks.db")
    }

    /// Opens the file with threads of its own, as another process would have them.
    pub(super) async fn open(&self, options: &ConnectOptions) -> Store {
        self.try_open(options).await.expect("the file can be opened")
    }

    pub(super) async fn try_open(&self, options: &ConnectOptions) -> crate::Result<Store> {
        let path = self.file();
        let url = format!("sqlite:///{}", path.display());
        Ok(Store::of(&url, &Arc::new(SqliteStore::open(&url, &path, options).await?)))
    }
}
