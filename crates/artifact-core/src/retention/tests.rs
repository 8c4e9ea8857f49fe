//! Properties of every plan.

use proptest::prelude::*;
use tracking_model::SessionId;

use super::*;

const DAY: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::EPOCH + Span::from_secs(day * DAY)
}

fn completed(id: &str, day: i64, bytes: u64) -> SessionMeta {
    SessionMeta {
        session_id: SessionId::new(id).unwrap(),
        name: id.into(),
        upgrade_id: None,
        completed_at: Some(at(day)),
        clock_contradiction: None,
        outcome: None,
        pinned: false,
        retention_days: 30,
        holds: vec![StatusTotals {
            status: ArtifactStatus::Created,
            artifacts: 1,
            bytes,
        }],
    }
}

fn lines(plan: &RetentionPlan) -> String {
    plan.to_string()
}

#[test]
fn a_plan_says_which_rule_chose_what_and_why_the_rest_is_spared() {
    let sessions = [
        completed("due", 0, 10),
        SessionMeta {
            outcome: Some(SessionOutcome::Failed),
            ..completed("failed", 0, 10)
        },
        SessionMeta {
            pinned: true,
            ..completed("pinned", 0, 10)
        },
        SessionMeta {
            completed_at: None,
            ..completed("open", 0, 10)
        },
        completed("skewed", 41, 10),
        SessionMeta {
            clock_contradiction: Some(ClockContradiction {
                at: at(0),
                after: at(1),
            }),
            ..completed("set-back", 0, 10)
        },
        SessionMeta {
            retention_days: 0,
            ..completed("young", 40, 10)
        },
        completed("recent", 20, 10),
        SessionMeta {
            retention_days: 7,
            ..completed("own-days", 20, 10)
        },
        SessionMeta {
            holds: Vec::new(),
            ..completed("empty", 0, 0)
        },
    ];
    let plan = RetentionPolicy::new().plan(&sessions, at(40));
    assert_eq!(
        lines(&plan),
        "delete due: 1 artifacts, 10 bytes: kept for 30 days\n\
         delete own-days: 1 artifacts, 10 bytes: kept for 7 days\n\
         spare failed: failed, kept 3 times longer, until 1970-04-01T00:00:00.000000Z\n\
         spare open: open\n\
         spare pinned: pinned\n\
         spare recent: kept until 1970-02-20T00:00:00.000000Z\n\
         spare set-back: recorded at 1970-01-01T00:00:00.000000Z what came after 1970-01-02T00:00:00.000000Z: a clock \
         was wrong, and its age is not known\n\
         spare skewed: completed in the future, at 1970-02-11T00:00:00.000000Z: a clock is wrong\n\
         spare young: kept until 1970-02-11T00:00:00.000000Z\n"
    );
    let plan = RetentionPolicy::new()
        .with_statuses([ArtifactStatus::Uploaded])
        .plan(&sessions[..1], at(40));
    assert_eq!(
        lines(&plan),
        "spare due: holds nothing of a status that may be deleted\n"
    );
    let json = serde_json::to_value(RetentionPolicy::new().plan(&sessions[..1], at(40))).unwrap();
    assert_eq!(json["delete"][0]["rule"]["kind"], "age");
    assert_eq!(json["policy"]["min_age"], DAY);
}

#[test]
fn room_is_made_by_those_that_would_expire_first() {
    let sessions = [
        completed("a", 10, 100),
        SessionMeta {
            outcome: Some(SessionOutcome::Failed),
            ..completed("b-failed", 0, 100)
        },
        completed("c", 12, 100),
        SessionMeta {
            completed_at: None,
            ..completed("d-open", 0, 100)
        },
    ];
    let plan = |max| {
        RetentionPolicy::new()
            .with_max_total_bytes(max)
            .plan(&sessions, at(20))
    };
    let deleted = |plan: &RetentionPlan| -> Vec<String> {
        let ids = plan.delete.iter();
        ids.map(|planned| planned.session.session_id.to_string())
            .collect()
    };
    assert!(deleted(&plan(400)).is_empty());
    assert_eq!(deleted(&plan(399)), ["a"]);
    assert_eq!(deleted(&plan(200)), ["a", "c"]);
    let all = plan(0);
    assert_eq!(deleted(&all), ["b-failed", "a", "c"]);
    assert_eq!((all.deleted_bytes, all.bytes_over), (300, 100));
}

fn arbitrary() -> impl Strategy<Value = SessionMeta> {
    let holds = prop::collection::vec((0..5_usize, 1..5_u64, 0..100_u64), 0..4);
    let outcome = prop::option::of(prop::sample::select(SessionOutcome::ALL.to_vec()));
    (
        "[a-c]{1,4}",
        prop::option::of(0..200_i64),
        outcome,
        prop::bool::weighted(0.2),
        1..60_u32,
        holds,
    )
        .prop_map(|(id, day, outcome, pinned, retention_days, holds)| SessionMeta {
            completed_at: day.map(at),
            outcome,
            pinned,
            retention_days,
            holds: holds
                .into_iter()
                .map(|(status, artifacts, bytes)| StatusTotals {
                    status: ArtifactStatus::ALL[status],
                    artifacts,
                    bytes,
                })
                .filter(|held| held.status != ArtifactStatus::Deleted)
                .collect(),
            ..completed(&id, 0, 0)
        })
}

fn sessions() -> impl Strategy<Value = Vec<SessionMeta>> {
    prop::collection::vec(arbitrary(), 0..12).prop_map(|mut sessions| {
        sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
        sessions.dedup_by(|a, b| a.session_id == b.session_id);
        sessions
    })
}

fn policy() -> impl Strategy<Value = RetentionPolicy> {
    let statuses = prop::sample::subsequence(ArtifactStatus::ALL.to_vec(), 0..=5);
    (
        prop::option::of(1..60_u32),
        0..5_u32,
        statuses,
        prop::option::of(0..600_u64),
        0..10_i64,
    )
        .prop_map(|(days, factor, statuses, max, min_age)| RetentionPolicy {
            retention_days: days,
            failed_factor: factor,
            statuses,
            max_total_bytes: max,
            min_age: Span::from_secs(min_age * DAY),
        })
}

proptest! {
    #[test]
    fn nothing_is_deleted_that_must_stay(sessions in sessions(), policy in policy(), today in 0..250_i64) {
        let plan = policy.plan(&sessions, at(today));
        for planned in &plan.delete {
            let session = &planned.session;
            prop_assert!(!session.pinned);
            let completed_at = session.completed_at.expect("open sessions are never chosen");
            prop_assert!(completed_at + policy.min_age <= at(today));
            prop_assert!(planned.artifacts > 0 && planned.artifacts <= session.artifacts());
            let kept = match planned.rule {
                RetentionRule::Age { days, factor } => i64::from(days * factor),
                RetentionRule::TotalSize { .. } => 0,
            };
            prop_assert!(completed_at + Span::from_secs(kept * DAY) <= at(today));
        }
    }

    #[test]
    fn every_session_that_holds_something_is_chosen_or_spared(
        sessions in sessions(), policy in policy(), today in 0..250_i64,
    ) {
        let plan = policy.plan(&sessions, at(today));
        let mut seen: Vec<&SessionId> = plan.delete.iter().map(|one| &one.session.session_id).collect();
        seen.extend(plan.spare.iter().map(|one| &one.session.session_id));
        seen.sort();
        let holding = sessions.iter().filter(|session| session.artifacts() > 0);
        prop_assert_eq!(seen, holding.map(|session| &session.session_id).collect::<Vec<_>>());
        prop_assert_eq!(plan.deleted_bytes, plan.delete.iter().map(|one| one.bytes).sum::<u64>());
        prop_assert_eq!(plan.total_bytes, sessions.iter().map(SessionMeta::bytes).sum::<u64>());
        // Where too much stays, nothing that may go is left.
        if plan.bytes_over > 0 {
            for spared in &plan.spare {
                let old_enough = |at: Timestamp| at + policy.min_age <= plan.at;
                let may_go = matches!(
                    spared.reason,
                    SpareReason::NotDue { .. } | SpareReason::FailedKeptLonger { .. }
                ) && spared.session.completed_at.is_some_and(old_enough);
                prop_assert!(!may_go || policy.deletable(&spared.session).1 == 0);
            }
        }
    }

    #[test]
    fn the_order_in_which_sessions_are_known_changes_nothing(
        sessions in sessions(), policy in policy(), today in 0..250_i64,
    ) {
        let backwards: Vec<SessionMeta> = sessions.iter().rev().cloned().collect();
        prop_assert_eq!(policy.plan(&sessions, at(today)), policy.plan(&backwards, at(today)));
    }

    #[test]
    fn what_is_due_stays_due_and_failing_never_shortens_a_life(
        session in arbitrary(), policy in policy(), today in 0..250_i64, later in 0..100_i64,
    ) {
        let policy = RetentionPolicy { max_total_bytes: None, ..policy };
        let is_due = |session: &SessionMeta, day| {
            !policy.plan(std::slice::from_ref(session), at(day)).delete.is_empty()
        };
        let failed = SessionMeta { outcome: Some(SessionOutcome::Failed), ..session.clone() };
        let well = SessionMeta { outcome: Some(SessionOutcome::Succeeded), ..session.clone() };
        prop_assert!(!is_due(&session, today) || is_due(&session, today + later));
        prop_assert!(!is_due(&failed, today) || is_due(&well, today));
    }
}
