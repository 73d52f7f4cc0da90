//! When events are sent, and which.

use std::sync::Mutex;

use async_trait::async_trait;
use celeriac_store::{ConnectOptions, Listener, Replies, Result, connect};
use tokio::sync::mpsc;

use super::*;
use crate::consumer::Input;
use crate::control::Question;
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
        sender: Sender { hostname: "w@h".into(), pid: 7, utc_offset: 0 },
        heartbeat,
        logical: LogicalClock::default(),
        clock: Clock::starting_at(testing::NOW),
        inquirer,
        inbox,
        trouble: Trouble::new("test"),
        is_heard: false,
    }
}

/// So much happens to tasks at once.
fn happen(watch: &Watch, times: usize) {
    let request = Arc::new(testing::request(testing::delivery(1)));
    for _ in 0..times {
        let (request, what) = (Arc::clone(&request), TaskEvent::Started);
        watch.say(Happening::Task { at: testing::NOW, request, what });
    }
}

/// A server that takes a while for each message; meanwhile as much happens to tasks as one message carries.
struct Busy {
    /// Nothing happens any more once this is taken, and then the dispatcher ends.
    watch: Mutex<Option<Watch>>,
    until: Instant,
    /// The routing keys of what was sent, and when.
    sent: Mutex<Vec<(String, Instant)>>,
}

impl Busy {
    fn happen(&self) {
        let mut watch = self.watch.lock().unwrap();
        if Instant::now() >= self.until {
            *watch = None;
        }
        let Some(watch) = &*watch else { return };
        happen(watch, MANY);
    }
}

#[async_trait]
impl Broadcasts for Busy {
    async fn broadcast(&self, _: &str, routing_key: &str, _: Message) -> Result<bool> {
        self.sent.lock().unwrap().push((routing_key.to_owned(), Instant::now()));
        self.happen();
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(true)
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
    let (watch, inbox) = Watch::channel();
    let every = Duration::from_secs(2);
    let until = Instant::now() + 10 * every;
    let server = Arc::new(Busy { watch: Mutex::new(Some(watch)), until, sent: Mutex::default() });
    let (inputs, asked) = mpsc::unbounded_channel();
    tokio::spawn(answer(asked));
    let broadcasts = Arc::clone(&server) as Arc<dyn Broadcasts>;
    let dispatcher = dispatcher(&broadcasts, inbox, Inquirer::new(inputs), Some(every));
    dispatcher.run().await;
    let sent = server.sent.lock().unwrap();
    let of_tasks = sent.iter().filter(|(key, _)| key == "task.multi").count();
    let of_worker = sent.iter().filter(|(key, _)| key != "task.multi").map(|(_, at)| *at);
    let said: Vec<Instant> = of_worker.collect();
    assert!(of_tasks > 100 && said.len() > 8, "{of_tasks} {said:?}");
    for pair in said.windows(2) {
        assert!(pair[1] - pair[0] < every + every / 2, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_listens_to_is_not_even_written() {
    let store = connect("memory://events-unheard", &ConnectOptions::default()).await.unwrap();
    let (watch, inbox) = Watch::channel();
    let dispatcher = dispatcher(store.broadcasts(), inbox, Inquirer::new(mpsc::unbounded_channel().0), None);
    let written = dispatcher.logical.clone();
    happen(&watch, 100);
    drop(watch);
    dispatcher.run().await;
    assert_eq!(written.value(), 1, "one finds out that nobody listens");
}

#[tokio::test(start_paused = true)]
async fn who_listens_hears_everything_from_then_on() {
    let store = connect("memory://events-heard", &ConnectOptions::default()).await.unwrap();
    let (watch, inbox) = Watch::channel();
    let dispatcher = dispatcher(store.broadcasts(), inbox, Inquirer::new(mpsc::unbounded_channel().0), None);
    let written = dispatcher.logical.clone();
    let running = tokio::spawn(dispatcher.run());
    happen(&watch, 100);
    tokio::time::sleep(GATHERING * 2).await;
    assert_eq!(written.value(), 1);
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
