//! The arguments of one call, and reading them as the types a task declares.

use celeriac_protocol::Value;

/// The arguments of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments, in the order of the wire.
    pub kwargs: Vec<(Box<str>, Value)>,
}
