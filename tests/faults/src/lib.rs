//! What tests break: a private Redis server ([`Server`]), and the network in front of it ([`Proxy`]). And who servers with
//! TLS are: [`make_certificates`].

mod certificates;
mod proxy;
mod server;

pub use certificates::make_certificates;
pub use proxy::{Ending, Proxy, Weather};
pub use server::{Server, free_port};
