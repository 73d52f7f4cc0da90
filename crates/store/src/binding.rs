//! Bindings: which queues get what is published to an exchange.

use std::fmt;
use std::str::FromStr;

use celeriac_protocol::QueueName;

/// A queue bound to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The queue.
    pub queue: QueueName,
    /// The exchange.
    pub exchange: Box<str>,
    /// How the exchange chooses among its bindings.
    pub exchange_type: ExchangeType,
    /// What the routing key of a message is compared with.
    pub routing_key: Box<str>,
}

impl Binding {
    /// Whether it is to the direct exchange of the queue's own name, as that of every queue of which nothing else is said.
    pub fn is_by_name(&self) -> bool {
        let Self { queue, exchange, exchange_type, routing_key } = self;
        let queue = queue.as_str();
        *exchange_type == ExchangeType::Direct && **exchange == *queue && **routing_key == *queue
    }
}

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExchangeType {
    /// Those with the routing key of the message.
    Direct,
    /// Those whose words match that key: `*` is one word, `#` any text.
    Topic,
    /// All.
    Fanout,
}

impl ExchangeType {
    /// As Celery's programs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

impl fmt::Display for ExchangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ExchangeType {
    type Err = UnknownExchangeType;

    fn from_str(text: &str) -> Result<Self, UnknownExchangeType> {
        let known =
            [Self::Direct, Self::Topic, Self::Fanout].into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| UnknownExchangeType(text.into()))
    }
}

/// There is no exchange of such a type here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of exchange: there are direct, topic and fanout")]
pub struct UnknownExchangeType(Box<str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_as_it_is_written() {
        for known in [ExchangeType::Direct, ExchangeType::Topic, ExchangeType::Fanout] {
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        let error = "headers".parse::<ExchangeType>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"headers\" is no type of exchange: there are direct, topic and fanout"
        );
    }
}
