//! Remote control: asking workers, and commands of a program's own that its workers answer.

mod client;
mod command;
mod form;

pub use celeriac_protocol::control::{Address, Reply};
pub use client::{Call, Control, ControlError};
pub use command::{Asked, Command, CommandError};
pub use form::{ArgumentKind, Form, FormError, Kind};
