//! What a task is: its name, its options, its function, and how it ends.

mod definition;
mod error;
mod options;
mod python;
mod retry;

pub use definition::{ArgumentCheck, AsyncBody, BlockingBody, Returned, Task, TaskBody, TaskDefinition};
pub use error::{Ending, Failure, RetryRequest, TaskError, TaskResult};
pub use options::{Acks, InvalidRateLimit, Isolation, RateLimit, TaskOptions};
pub use python::PythonRules;
pub use retry::{ErrorFilter, RetryFor, RetryPolicy, Verdict, exponential_backoff};
