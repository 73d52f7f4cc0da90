//! What it costs to send events: no-op tasks with and without, in turn.

use std::io::Write;
use std::net::TcpStream;

use super::app_at;
use super::drain::empty_the_queue;
use crate::Result;
use crate::place::Place;
use crate::report::Figure;
use crate::tasks;

const TASKS: u32 = 100_000;
/// How often each way is measured; the median of the shares counts.
const ROUNDS: usize = 5;

/// The ways in which a queue is emptied.
#[derive(Clone, Copy)]
enum Way {
    WithoutEvents,
    /// With events that nobody hears.
    Unheard,
    /// With events that somebody listens to and never reads.
    Unread,
}

/// What is left of the throughput with events.
pub(crate) async fn run(place: &Place) -> Result<Vec<Figure>> {
    let (mut unheard, mut unread) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut order = [Way::WithoutEvents, Way::Unheard, Way::Unread];
        // What comes first may fall on another moment of the machine than what comes last.
        if round % 2 == 1 {
            order.reverse();
        }
        let mut rates = [0.0; 3];
        for way in order {
            rates[way as usize] = rate(place, way).await?;
        }
        unheard.push(100.0 * rates[Way::Unheard as usize] / rates[Way::WithoutEvents as usize]);
        unread.push(100.0 * rates[Way::Unread as usize] / rates[Way::WithoutEvents as usize]);
    }
    Ok(vec![
        Figure::new("drain with events, of that without", "%", median(unheard)),
        Figure::new("drain with events that somebody never reads, of that without", "%", median(unread)),
    ])
}

/// Tasks for each second.
async fn rate(place: &Place, way: Way) -> Result<f64> {
    let is_on = !matches!(way, Way::WithoutEvents);
    let app = app_at(place.url()).settings(|settings| settings.worker_send_task_events = is_on);
    for _ in 0..TASKS / 1000 {
        app.send_many((0..1000).map(|_| tasks::nothing.s())).await?;
    }
    let deaf = match way {
        Way::Unread => Some(never_reads(place)?),
        Way::WithoutEvents | Way::Unheard => None,
    };
    let took = empty_the_queue(&app).await?;
    drop(deaf);
    Ok(f64::from(TASKS) / took.as_secs_f64())
}

/// A connection on which all events are subscribed to and none is read.
fn never_reads(place: &Place) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(place.address().ok_or("events are measured on a server")?)?;
    connection.write_all(b"PSUBSCRIBE *celeryev*\r\n")?;
    Ok(connection)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
