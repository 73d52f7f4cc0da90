//! What a run is made of, and how long each part took.

use std::fs;
use std::time::{Duration, Instant};

use crate::run::Result;
use crate::runner::{self, Tally};

/// How many ticks of the kernel's accounting are a second: `USER_HZ`, which is part of its interface, proc(5).
const TICKS: u64 = 100;

/// The steps that were taken, in their order.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    /// The time of processors that those processes used that ended meanwhile: what is missing to `took` was spent waiting.
    worked: Duration,
}

impl Steps {
    /// Takes a step, and remembers how long it took.
    pub(crate) fn take<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let (started, before) = (Instant::now(), time_of_children());
        let outcome = step();
        let worked = time_of_children().saturating_sub(before);
        self.0.push(Step { name: name.to_owned(), took: started.elapsed(), worked });
        outcome
    }

    /// Says how long each step took, next to how many tests ran, or to why that is not known.
    pub(crate) fn conclude(&self, tally: Result<Tally>) -> Result<()> {
        match tally {
            Ok(mut tally) => {
                tally.remarks.push(self.told());
                runner::conclude(&tally)
            }
            Err(failure) => {
                println!("\n{}", self.told());
                Err(failure)
            }
        }
    }

    fn told(&self) -> String {
        let mut text = String::from("  took  processors  step\n");
        for Step { name, took, worked } in &self.0 {
            text += &format!("{:>4.0} s  {:>8.0} s  {name}\n", took.as_secs_f64(), worked.as_secs_f64());
        }
        let all: Duration = self.0.iter().map(|step| step.took).sum();
        text + &format!("{:>4.0} s              all of them", all.as_secs_f64())
    }
}

/// The time of processors that the ended children of this process have used, with all that they have waited for.
fn time_of_children() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| children_in(&stat)).unwrap_or_default()
}

/// `cutime` and `cstime` in a line of `/proc/PID/stat`. Source: proc(5).
fn children_in(stat: &str) -> Option<Duration> {
    // The second field is a name, which may contain anything; the rest are numbers, of which these are the 16th and the 17th.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(13);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Failure;

    #[test]
    fn each_step_is_a_line_also_the_one_that_failed() {
        let mut steps = Steps::default();
        steps.take("lint", || Ok(())).unwrap();
        let failed: Result<()> = steps.take("tests", || Err(Failure("no".to_owned())));
        assert!(failed.is_err());
        let told = steps.told();
        let names: Vec<&str> = told.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, ["step", "lint", "tests", "them"]);
    }

    #[test]
    fn the_time_of_children_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 150 50 20 0 1 0 9 8 7";
        assert_eq!(children_in(stat), Some(Duration::from_secs(2)));
        assert_eq!(children_in("7 (a)"), None);
    }
}
