//! What tests break: a private Redis server ([`Server`]), and the network in front of it ([`Proxy`]).

mod proxy;
mod server;

pub use proxy::{Ending, Proxy, Weather};
pub use server::{Server, free_port};
