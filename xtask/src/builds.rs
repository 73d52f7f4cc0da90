//! What is built, and of what: few selections, because each set of packages comes to features of its own, with which everything
//! that has them is built anew.

/// All features of the library that are not on by default.
const FEATURES: &str = "celeriac/otlp,celeriac/redis,celeriac/tls";

/// Everything, with all features: what tests run that are not optimised.
pub(crate) const EVERYTHING: [&str; 4] = ["--workspace", "--locked", "--features", FEATURES];

/// What runs optimised: the recovery tests, with their programs, and the example.
pub(crate) const OPTIMISED: [&str; 7] =
    ["--locked", "--profile", "ci", "--package", "celeriac-recovery", "--package", "celeriac"];

/// The program as the Python package has it.
pub(crate) const PROGRAM: [&str; 5] = ["--locked", "--package", "celeriac", "--features", "otlp,redis,tls"];
