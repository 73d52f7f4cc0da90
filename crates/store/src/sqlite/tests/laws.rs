//! The laws of all stores, on files.

use async_trait::async_trait;
use celeriac_protocol::QueueName;

use super::Folder;
use crate::conformance::FreshServer;
use crate::{ConnectOptions, Store};

#[async_trait]
impl FreshServer for Folder {
    async fn open(&self, options: &ConnectOptions) -> Store {
        Folder::open(self, options).await
    }

    async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        let file = rusqlite::Connection::open(self.file()).unwrap();
        file.execute("INSERT OR IGNORE INTO queue (name) VALUES (?1)", [queue.as_str()]).unwrap();
        let (queue, id): (i64, i64) = file
            .query_one(
                "SELECT queue.id, last + 1 FROM queue, sequence WHERE name = ?1",
                [queue.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        file.execute_batch("BEGIN IMMEDIATE; UPDATE sequence SET last = last + 1").unwrap();
        file.execute("INSERT INTO message VALUES (?1, NULL, ?2, ?1, NULL, ?3, x'')", (id, queue, bytes))
            .unwrap();
        file.execute("INSERT INTO ready VALUES (?2, ?1, ?1, 0)", (id, queue)).unwrap();
        file.execute_batch("COMMIT").unwrap();
    }
}

crate::store_laws!(Folder::new(), (flavor = "current_thread"));
