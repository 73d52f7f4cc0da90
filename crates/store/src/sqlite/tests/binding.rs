//! Bindings of queues to exchanges, as producers in Python find them.

use super::*;
use crate::{Binding, ExchangeType};

#[tokio::test]
async fn bindings_are_in_the_file_once() {
    let folder = Folder::new();
    let store = folder.open(&ConnectOptions::default()).await;
    let binding = |exchange: &str, exchange_type, key: &str| Binding {
        queue: "q".into(),
        exchange: exchange.into(),
        exchange_type,
        routing_key: key.into(),
    };
    let bindings = [
        binding("feeds", ExchangeType::Topic, "feed.#"),
        binding("feeds", ExchangeType::Direct, "feed.#"),
        binding("news", ExchangeType::Fanout, ""),
        // Goes without saying.
        binding("q", ExchangeType::Direct, "q"),
    ];
    for _ in 0..2 {
        store.broker().bind(&bindings).await.unwrap();
    }
    let plain = folder.plain();
    let found = |exchange: &str| {
        let mut list = plain.prepare(include_str!("../sql/binding_list.sql")).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        let rows = list.query_map([exchange], row).unwrap();
        rows.map(rusqlite::Result::unwrap).collect::<Vec<[String; 3]>>()
    };
    assert_eq!(found("feeds"), [["direct", "feed.#", "q"], ["topic", "feed.#", "q"]]);
    assert_eq!(found("news"), [["fanout", "", "q"]]);
    assert_eq!(found("q"), [] as [[&str; 3]; 0]);
}
