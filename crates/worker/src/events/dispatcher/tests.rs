//! When events are sent, and which.

use std::sync::Mutex;

use async_trait::async_trait;
use celeriac_store::{ConnectOptions, LARGEST_BROADCAST, Listener, Replies, Result, connect};
use tokio::sync::mpsc;

use super::*;
use crate::consumer::Input;
use crate::control::Question;
use crate::events::watch::{GATHERING, MANY};
use crate::events::{TaskEvent, Watch};
use crate::testing;

const EXCHANGE: &str = "celeryev";

fn dispatcher(
    broadcasts: &Arc<dyn Broadcasts>,
    inbox: Inbox,
    inquirer: Inquirer,
    heartbeat: Option<Duration>,
) -> Dispatcher {
    Dispatcher {
        broadcasts: Arc::clone(broadcasts),
        exchange: EXCHANGE.to_owned(),
        sender: sender(),
        heartbeat,
        logical: LogicalClock::default(),
        clock: Clock::starting_at(testing::NOW),
        inquirer,
        inbox,
        bell: Arc::default(),
        trouble: Trouble::new("test"),
    }
}

fn sender() -> Sender {
    Sender::new("w@h", 7, 0)
}

fn ends() -> (Watch, Inbox) {
    Watch::new(sender(), LogicalClock::default(), 0)
}

/// So much happens to tasks at once.
fn happen(watch: &Watch, times: usize) {
    let request = Arc::new(testing::request(testing::delivery(1)));
    for _ in 0..times {
        watch.say(testing::NOW, &request, TaskEvent::Started);
    }
}

/// A server that notes what is sent.
#[derive(Default)]
struct Server {
    is_heard: bool,
    /// How long it takes for each message; meanwhile as much happens to tasks as one message carries.
    takes: Duration,
    /// Until when anything happens; then the dispatcher ends.
    busy: Mutex<Option<(Watch, Instant)>>,
    sent: Mutex<Vec<Sent>>,
}

struct Sent {
    routing_key: String,
    events: usize,
    at: Instant,
}

#[async_trait]
impl Broadcasts for Server {
    async fn broadcast_all(&self, _: &str, routing_key: &str, messages: Vec<Message>) -> Result<bool> {
        for message in &messages {
            let events = events::decode(message).unwrap().len();
            let sent = Sent { routing_key: routing_key.to_owned(), events, at: Instant::now() };
            self.sent.lock().unwrap().push(sent);
        }
        {
            let mut busy = self.busy.lock().unwrap();
            match &*busy {
                Some((watch, until)) if Instant::now() < *until => happen(watch, MANY),
                _ => *busy = None,
            }
        }
        tokio::time::sleep(self.takes).await;
        Ok(self.is_heard)
    }

    async fn listen(&self, _: &str) -> Result<Box<dyn Listener>> {
        Err(Error::Closed)
    }

    async fn listen_to_keys(&self, _: &str) -> Result<Box<dyn Listener>> {
        Err(Error::Closed)
    }

    async fn reply(&self, _: &str, _: &str, _: Message, _: Duration) -> Result<bool> {
        Err(Error::Closed)
    }

    async fn await_replies(&self, _: &str, _: Duration) -> Result<Box<dyn Replies>> {
        Err(Error::Closed)
    }
}

/// Answers what the dispatcher asks of the loop.
async fn answer(mut inputs: mpsc::UnboundedReceiver<Input>) {
    while let Some(Input::Question(Question::Load(answer))) = inputs.recv().await {
        answer.send(Load::default()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_in_time_however_much_happens() {
    let (watch, inbox) = ends();
    let every = Duration::from_secs(2);
    let until = Instant::now() + 10 * every;
    let server = Arc::new(Server {
        is_heard: true,
        takes: Duration::from_millis(100),
        busy: Mutex::new(Some((watch, until))),
        sent: Mutex::default(),
    });
    let (inputs, asked) = mpsc::unbounded_channel();
    tokio::spawn(answer(asked));
    let broadcasts = Arc::clone(&server) as Arc<dyn Broadcasts>;
    let dispatcher = dispatcher(&broadcasts, inbox, Inquirer::new(inputs), Some(every));
    dispatcher.run().await;
    let sent = server.sent.lock().unwrap();
    let (of_tasks, of_worker): (Vec<&Sent>, Vec<&Sent>) =
        sent.iter().partition(|sent| sent.routing_key == "task.multi");
    let (of_tasks, said) = (of_tasks.len(), of_worker.iter().map(|sent| sent.at).collect::<Vec<_>>());
    assert!(of_tasks > 100 && said.len() > 8, "{of_tasks} {said:?}");
    for pair in said.windows(2) {
        assert!(pair[1] - pair[0] < every + every / 2, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_listens_to_is_not_sent() {
    let (watch, inbox) = ends();
    let server = Arc::new(Server { is_heard: false, ..Server::default() });
    let broadcasts = Arc::clone(&server) as Arc<dyn Broadcasts>;
    let running =
        tokio::spawn(dispatcher(&broadcasts, inbox, Inquirer::new(mpsc::unbounded_channel().0), None).run());
    for _ in 0..2 {
        happen(&watch, MANY * 2);
        tokio::time::sleep(GATHERING * 2).await;
    }
    drop(watch);
    running.await.unwrap();
    let sent: Vec<usize> = server.sent.lock().unwrap().iter().map(|sent| sent.events).collect();
    assert_eq!(sent, [1, 1], "each time one finds out that nobody listens");
}

#[tokio::test(start_paused = true)]
async fn who_listens_hears_everything_from_then_on() {
    let store = connect("memory://events-heard", &ConnectOptions::default()).await.unwrap();
    let (watch, inbox) = ends();
    let dispatcher = dispatcher(store.broadcasts(), inbox, Inquirer::new(mpsc::unbounded_channel().0), None);
    let running = tokio::spawn(dispatcher.run());
    happen(&watch, 100);
    tokio::time::sleep(GATHERING * 2).await;
    let mut listener = store.broadcasts().listen_to_keys(EXCHANGE).await.unwrap();
    for times in [100, 1, MANY + 100] {
        happen(&watch, times);
        let mut heard = 0;
        while heard < times {
            heard += events::decode(&listener.next().await.unwrap()).unwrap().len();
        }
        assert_eq!(heard, times);
    }
    drop(watch);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_what_is_too_large_is_dropped_and_it_is_counted() {
    let store = connect("memory://events-too-large", &ConnectOptions::default()).await.unwrap();
    let mut listener = store.broadcasts().listen_to_keys(EXCHANGE).await.unwrap();
    let (watch, inbox) = ends();
    inbox.found(true);
    let dispatcher = dispatcher(store.broadcasts(), inbox, Inquirer::new(mpsc::unbounded_channel().0), None);
    let running = tokio::spawn(dispatcher.run());
    let request = Arc::new(testing::request(testing::delivery(1)));
    for round in 1..=2 {
        happen(&watch, MANY - 3);
        let traceback = "x".repeat(LARGEST_BROADCAST).into();
        watch.say(testing::NOW, &request, TaskEvent::Failed { exception: "E()".into(), traceback });
        happen(&watch, 2);
        for expected in [MANY - 3, 2] {
            let heard = events::decode(&listener.next().await.unwrap()).unwrap();
            assert_eq!(heard.len(), expected);
        }
        assert_eq!(watch.dropped(), round);
    }
    drop(watch);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_counted_where_nobody_listens() {
    let store = connect("memory://events-too-large-for-nobody", &ConnectOptions::default()).await.unwrap();
    let (watch, inbox) = ends();
    let dispatcher = dispatcher(store.broadcasts(), inbox, Inquirer::new(mpsc::unbounded_channel().0), None);
    let running = tokio::spawn(dispatcher.run());
    let request = Arc::new(testing::request(testing::delivery(1)));
    let traceback = "x".repeat(LARGEST_BROADCAST).into();
    watch.say(testing::NOW, &request, TaskEvent::Failed { exception: "E()".into(), traceback });
    // The time of this test goes on once nothing is left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(watch.dropped(), 0);
    drop(watch);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_is_told_of_what_is_dropped_once_a_minute() {
    let mut dropped = Dropped::default();
    assert_eq!(dropped.add(0), None);
    assert_eq!(dropped.add(3), Some(3), "at once");
    assert_eq!((dropped.add(2), dropped.add(2)), (None, None));
    tokio::time::advance(TELL_EVERY).await;
    assert_eq!(dropped.add(1), Some(5));
    assert_eq!((dropped.add(4), dropped.rest(), dropped.rest()), (None, Some(4), None));
}
