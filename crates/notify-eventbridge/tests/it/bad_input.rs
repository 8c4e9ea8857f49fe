//! Buses, settings and answers that are not as they should be.

use notify_eventbridge::{BusCheck, Cause, EventBridgeSink};
use serde_json::json;
use test_servers::{Reply, ScriptedServer};
use tracking_journal::{Delivery, EventSink, Record};
use tracking_model::UpgradeCommand;

use crate::bus::{FakeBus, answer, builder, error, is_look, puts, sink};
use crate::upgrade::Upgrade;

/// Three records that are sent, after the two with which an upgrade begins.
fn records() -> Vec<Record> {
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start { phase: "p".into() });
    upgrade.wait(2, 10);
    upgrade.records()
}

async fn publish(sink: &EventBridgeSink, records: &[Record]) -> Vec<Delivery> {
    sink.publish(&records[0], &records[2..]).await
}

fn reasons(answers: &[Delivery]) -> Vec<&str> {
    let mut reasons = Vec::new();
    for answer in answers {
        let Delivery::Retry { reason, .. } = answer else {
            panic!("{answer:?}");
        };
        reasons.push(reason.as_str());
    }
    reasons
}

/// Answers the look for the bus with `look`, and would take every entry.
fn looking(look: impl Fn() -> Reply + Send + Sync + 'static) -> (std::sync::Arc<FakeBus>, ScriptedServer) {
    let bus = FakeBus::new();
    let answering = std::sync::Arc::clone(&bus);
    let server = ScriptedServer::start(move |request, _| match is_look(request) {
        true => look(),
        false => answering.answer(request),
    });
    (bus, server)
}

#[tokio::test]
async fn what_somebody_has_to_put_right_is_an_error_and_holds_events_back() {
    let cases = [
        ("ResourceNotFoundException", "no such bus", Cause::NoResource),
        ("ExpiredTokenException", "expired", Cause::ExpiredCredentials),
        ("UnrecognizedClientException", "who?", Cause::WrongCredentials),
        (
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'us-east-1'.",
            Cause::WrongRegion,
        ),
        (
            "InvalidSignatureException",
            "Signature expired: it is now earlier than that",
            Cause::ClockSkew,
        ),
    ];
    for (code, message, cause) in cases {
        let (bus, server) = looking(move || error(400, code, message));
        let sink = sink(&server);
        let failure = sink.check().await.unwrap_err();
        assert_eq!((failure.cause, failure.status), (cause, Some(400)), "{failure}");
        assert_eq!(failure.request_id.as_deref(), Some("SCRIPTED-1"));
        let text = failure.to_string();
        let hint = failure.hint();
        assert!(!text.contains(&hint) && text.contains("bus ops"), "{text}");
        let answers = publish(&sink, &records()).await;
        assert!(
            reasons(&answers)
                .iter()
                .all(|reason| reason.contains(code) && reason.contains(&hint)),
            "{answers:?}"
        );
        assert!(bus.taken().is_empty() && puts(&server).is_empty());
    }
}

#[tokio::test]
async fn who_may_not_look_may_send() {
    for (status, code) in [
        (400, "AccessDeniedException"),
        (403, ""),
        (400, "UnknownOperationException"),
    ] {
        let (bus, server) = looking(move || error(status, code, "no"));
        let sink = sink(&server);
        let BusCheck::NotAllowed(failure) = sink.check().await.unwrap() else {
            panic!("{status} {code}");
        };
        assert_eq!(failure.status, Some(status));
        let answers = publish(&sink, &records()).await;
        assert_eq!(answers, [const { Delivery::Delivered }; 3]);
        assert_eq!(bus.taken().len(), 3);
    }
}

#[tokio::test]
async fn an_outage_at_the_start_is_no_error_of_the_start() {
    // No free port: the next test to ask for one may get it, and then this call too.
    let nobody = builder("http://127.0.0.1:1").build().unwrap();
    let BusCheck::Unreachable(failure) = nobody.check().await.unwrap() else {
        panic!("somebody listens");
    };
    assert_eq!(
        (failure.cause, failure.status),
        (Cause::NoConnection, None),
        "{failure}"
    );
    let answers = publish(&nobody, &records()).await;
    assert!(
        reasons(&answers)
            .iter()
            .all(|reason| reason.contains("check that the endpoint is up"))
    );

    let (bus, server) = looking(|| error(400, "ThrottlingException", "Rate exceeded"));
    let throttled = sink(&server);
    assert!(matches!(
        throttled.check().await.unwrap(),
        BusCheck::Unreachable(failure) if failure.cause == Cause::Throttled
    ));
    reasons(&publish(&throttled, &records()).await);
    assert!(bus.taken().is_empty(), "nothing goes where perhaps no bus is");
}

#[tokio::test]
async fn the_bus_is_looked_for_once() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let sink = sink(&server);
    for _ in 0..3 {
        publish(&sink, &records()).await;
    }
    let looks = server
        .requests()
        .iter()
        .filter(|request| is_look(request))
        .count();
    assert_eq!((looks, bus.taken().len()), (1, 9));
}

#[tokio::test]
async fn being_denied_to_send_parks_nothing() {
    let (_, server) = {
        let bus = FakeBus::new();
        let server = ScriptedServer::start(move |request, _| match is_look(request) {
            true => bus.answer(request),
            false => error(
                400,
                "AccessDeniedException",
                "not authorized to perform: events:PutEvents",
            ),
        });
        ((), server)
    };
    let answers = publish(&sink(&server), &records()).await;
    let reasons = reasons(&answers);
    assert!(reasons[0].contains("docs/eventbridge.md"), "{reasons:?}");
    assert_eq!(
        puts(&server).len(),
        1,
        "what is denied once is not asked for again at once"
    );
}

#[tokio::test]
async fn entries_that_are_denied_are_parked_and_say_what_to_do() {
    let bus = FakeBus::deciding(|_| Some("NotAuthorizedForSourceException"));
    let server = bus.serve();
    let answers = publish(&sink(&server), &records()).await;
    for answer in answers {
        assert!(matches!(answer, Delivery::Park { reason } if reason.contains("sinks retry")));
    }
}

/// A call that is too large for this endpoint goes out one by one; what is too large alone is only known to be so once
/// others were taken.
#[tokio::test]
async fn a_call_that_is_too_large_is_divided() {
    let bus = FakeBus::new();
    let answering = std::sync::Arc::clone(&bus);
    let server = ScriptedServer::start(move |request, _| {
        if !is_look(request) && request.body.len() > 1_000 {
            return error(413, "RequestEntityTooLarge", "too large");
        }
        answering.answer(request)
    });
    let sink_ = sink(&server);
    let answers = publish(&sink_, &records()).await;
    assert_eq!(answers, [const { Delivery::Delivered }; 3]);

    let upgrade = Upgrade::new();
    upgrade.wait(1, 2_000);
    let large = upgrade.records();
    let fresh = publish(&sink(&server), &large).await;
    assert!(reasons(&fresh)[0].contains("413"), "{fresh:?}");
    let proved = publish(&sink_, &large).await;
    assert!(
        matches!(&proved[..], [Delivery::Park { reason }] if reason.contains("413")),
        "{proved:?}"
    );
}

#[tokio::test]
async fn answers_that_cannot_be_matched_are_no_success() {
    let bodies = [
        json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": "a" }] }),
        json!({ "FailedEntryCount": 0, "Entries": [{}, {}, {}] }),
        json!({ "FailedEntryCount": 0 }),
        json!({}),
    ];
    for body in bodies {
        let server = ScriptedServer::start(move |request, _| match is_look(request) {
            true => FakeBus::new().answer(request),
            false => answer(&body),
        });
        let answers = publish(&sink(&server), &records()).await;
        assert_eq!(reasons(&answers).len(), 3);
    }
    let server = ScriptedServer::start(|request, _| match is_look(request) {
        true => FakeBus::new().answer(request),
        false => Reply::body(200, b"<html>a proxy's page</html>".to_vec()),
    });
    let answers = publish(&sink(&server), &records()).await;
    assert_eq!(reasons(&answers).len(), 3);
}

/// The first event of all is the one that is refused, alone in a call of its own: the others show that it is the one.
#[tokio::test]
async fn what_is_refused_first_holds_up_nothing() {
    let bus = FakeBus::new();
    let answering = std::sync::Arc::clone(&bus);
    let server = ScriptedServer::start(move |request, _| {
        if request.body.windows(20).any(|part| part == [b'0'; 20]) {
            return error(400, "ValidationException", "not valid");
        }
        answering.answer(request)
    });
    let upgrade = Upgrade::new();
    upgrade.wait(1, 32_400);
    upgrade.submit(UpgradeCommand::Start { phase: "p".into() });
    upgrade.submit(UpgradeCommand::SetPhase { phase: "q".into() });
    let sink = builder(&server.endpoint()).max_bytes(64 << 10).build().unwrap();
    let answers = publish(&sink, &upgrade.records()).await;
    assert!(
        matches!(&answers[0], Delivery::Park { reason } if reason.contains("not valid")),
        "{answers:?}"
    );
    assert_eq!(answers[1..], [const { Delivery::Delivered }; 2]);
    let calls: Vec<_> = puts(&server).iter().map(Vec::len).collect();
    assert_eq!(calls, [1, 2]);
}

/// Where everything is refused alone, it is not the events: none is parked, and the server is not asked for each.
#[tokio::test]
async fn where_all_are_refused_none_is_parked() {
    let server = ScriptedServer::start(|request, _| match is_look(request) {
        true => FakeBus::new().answer(request),
        false => error(400, "ValidationException", "the source is not valid"),
    });
    let upgrade = Upgrade::new();
    upgrade.wait(100, 10);
    let answers = publish(&sink(&server), &upgrade.records()).await;
    assert_eq!(reasons(&answers).len(), 100);
    assert_eq!(puts(&server).len(), 11);
}

/// A bus that is removed later is looked for again before anything is sent.
#[tokio::test]
async fn a_bus_that_is_removed_is_looked_for_again() {
    let bus = FakeBus::new();
    let server = ScriptedServer::start(move |request, number| match number {
        1 => error(400, "ResourceNotFoundException", "removed"),
        2 => error(400, "ResourceNotFoundException", "still not there"),
        _ => bus.answer(request),
    });
    let sink = sink(&server);
    for _ in 0..2 {
        reasons(&publish(&sink, &records()).await);
    }
    assert_eq!(
        publish(&sink, &records()).await,
        [const { Delivery::Delivered }; 3]
    );
    let looks: Vec<_> = server.requests().iter().map(is_look).collect();
    assert_eq!(looks, [true, false, true, true, false]);
}
