//! Where messages and results are kept.
//!
//! The traits say what a store guarantees; the conformance suites hold every store to it. One folder per
//! server, because one server plays several roles with one connection policy: [`Broker`], [`ResultBackend`],
//! [`Groups`], [`Schedule`], [`Revocations`], [`ControlState`], [`FailedTasks`], [`Presence`] and [`Broadcasts`].

mod binding;
mod broadcasts;
mod broker;
mod capabilities;
pub mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod control_state;
mod elsewhere;
mod error;
mod failed;
mod groups;
mod inbox;
pub mod memory;
mod password;
mod presence;
#[cfg(feature = "redis")]
pub mod redis;
mod redis_options;
mod results;
mod revocations;
mod schedule;
mod search;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
mod tally;

pub use binding::{Binding, ExchangeType, UnknownExchangeType};
pub use broadcasts::{
    Broadcasts, LARGEST_BROADCAST, Listener, Replies, WAITING_BROADCAST_BYTES, WAITING_BROADCASTS,
};
pub use broker::{
    Broker, ConsumeOptions, Consumer, ConsumerId, Delivery, DeliveryTag, Finish, Lease, Publish, QueueStats,
    Route, Settle, Settled, Settler, Subscription,
};
pub use capabilities::Capabilities;
pub use control_state::{ControlChange, ControlState, Whose};
pub use error::Error;
pub use failed::{FailedTask, FailedTasks, FailureReason};
pub use groups::{
    Chord, ChordPart, ChordProgress, Closing, Consequences, Counted, Groups, NewChord, Publication, Reported,
    SavedGroup,
};
pub use password::without_password;
pub use presence::{Presence, WorkerRecord};
pub use redis_options::{QueueOrder, RedisOptions, RefusedOption, SentinelLogin};
pub use results::{ResultBackend, StoreResult};
pub use revocations::{Revocation, RevocationWatch, Revocations};
pub use schedule::{Schedule, Scheduled};
pub use search::{Located, Location, Search, Sighting, Sightings, Sought};
pub use store::{ConnectOptions, Durability, Store, connect, wait_until_closed};

/// What every operation of a store returns.
pub type Result<T> = std::result::Result<T, Error>;
