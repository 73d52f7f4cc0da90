//! A producer in Python, a worker in Rust: `python/python_sends.py` has one scenario for each test.

macro_rules! scenarios {
    ($($name:ident)*) => {
        mod on_redis {
            $(#[tokio::test]
            async fn $name() {
                super::run(crate::harness::Broker::start(), stringify!($name)).await;
            })*
        }

        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::run(crate::harness::Broker::embedded(), stringify!($name)).await;
            })*
        }
    };
}

async fn run(broker: super::harness::Broker, scenario: &str) {
    let _worker = broker.rust_worker(&[]).await;
    broker.begin("python_sends.py", scenario).succeed().await;
}

scenarios! {
    results_are_read_in_python
    arguments_of_every_kind_arrive
    a_failure_has_its_class_and_message
    a_failure_is_raised_in_the_callers_process
    retries_are_counted
    a_countdown_and_an_eta_are_kept
    an_expired_task_is_revoked
    priorities_order_the_queue
    a_revoked_task_does_not_run
    a_result_may_be_ignored
    headers_and_stamps_arrive
    bodies_may_be_compressed
    bodies_may_be_message_pack
    protocol_1_is_understood
    many_tasks_come_back
}
