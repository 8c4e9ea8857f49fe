//! The protocol: what one side writes the other reads, and nothing that comes can do harm.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stream_ws::protocol::{ClientMessage, Interest, Position, Query, ServerMessage, Subscribe, TypeFilter};
use tracking_model::{SessionId, StreamId, UpgradeId};
use uuid::Uuid;

fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9][A-Za-z0-9._:-]{0,20}".prop_filter("a reserved end", |id| {
        !id.ends_with(".json") && !id.ends_with(".jsonl")
    })
}

fn upgrade() -> impl Strategy<Value = UpgradeId> {
    id().prop_filter_map("the word for nothing", |id| {
        UpgradeId::new(id).ok().filter(|id| id.as_str() != "none")
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    id().prop_map(|id| SessionId::new(id).unwrap())
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u128>(), any::<u64>()).prop_map(|(epoch, seq)| Position {
        epoch: Uuid::from_u128(epoch),
        seq,
    })
}

fn interest() -> impl Strategy<Value = Interest> {
    let upgrades = proptest::collection::btree_set(upgrade(), 0..4);
    let clusters = proptest::collection::btree_set("\\PC{1,12}", 0..4);
    (upgrades, clusters, any::<bool>()).prop_map(|(upgrades, clusters, all)| Interest {
        upgrades,
        clusters,
        all,
    })
}

proptest! {
    #[test]
    fn queries_are_read_as_they_are_written(
        named in proptest::option::of((upgrade(), proptest::option::of(position()))),
        sessions in proptest::option::of(proptest::collection::btree_map(session(), position(), 0..4)),
        snapshot in any::<bool>(),
    ) {
        let (upgrade, since) = named.map_or((None, None), |(id, since)| (Some(id), since));
        let query = Query { upgrade, nothing: false, since, sessions, snapshot };
        prop_assert_eq!(Query::parse(&query.to_query()).unwrap(), query);
    }

    #[test]
    fn subscriptions_are_read_as_they_are_written(
        interest in interest(),
        types in proptest::option::of(proptest::collection::vec("[a-z_.*]{1,12}", 0..4)),
        upgrades in proptest::collection::btree_map(upgrade(), position(), 0..4),
        sessions in proptest::collection::btree_map(session(), position(), 0..4),
    ) {
        let upgrades = upgrades.into_iter().map(|(id, at)| (StreamId::Upgrade(id), at));
        let sessions = sessions.into_iter().map(|(id, at)| (StreamId::Session(id), at));
        let since: BTreeMap<_, _> = upgrades.chain(sessions).collect();
        let unsubscribe = ClientMessage::Unsubscribe(interest.clone());
        let subscribe = ClientMessage::Subscribe(Subscribe { interest, types: types.map(TypeFilter::new), since });
        for message in [subscribe, unsubscribe] {
            prop_assert_eq!(ClientMessage::parse(&message.to_text()).unwrap(), message);
        }
    }

    #[test]
    fn what_interests_is_what_was_added_and_not_taken_away(
        first in interest(), second in interest(), less in interest(), upgrade in upgrade(), cluster in "\\PC{1,12}",
    ) {
        let mut both = first.clone();
        both.add(second.clone());
        let either = first.admits(&upgrade, &cluster) || second.admits(&upgrade, &cluster);
        prop_assert_eq!(both.admits(&upgrade, &cluster), either);
        for id in first.upgrades.iter().chain(&second.upgrades) {
            prop_assert!(both.admits(id, ""));
        }
        both.remove(&less);
        prop_assert!(both.upgrades.is_disjoint(&less.upgrades) && both.clusters.is_disjoint(&less.clusters));
        prop_assert!(!less.all || both.is_empty());
    }

    #[test]
    fn whatever_comes_is_read_or_refused(text in "\\PC*|\\{\"type\":\"[a-z_]*\",\"data\":[\\[\\]\\{\\}a-z0-9\":,]*\\}") {
        drop(ClientMessage::parse(&text));
        drop(ServerMessage::parse(&text));
        drop(Query::parse(&text));
    }
}
