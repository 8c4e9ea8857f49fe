//! Scripts that are run again.

use crate::ekstrack::Ekstrack;

const START: [&str; 8] = [
    "upgrade",
    "start",
    "prod",
    "--plan",
    "plan-7",
    "--cluster",
    "prod-eu",
    "--if-needed",
];

#[test]
fn an_upgrade_is_started_if_that_is_needed() {
    let ekstrack = Ekstrack::new();
    let start = || ekstrack.ok(&START);
    let status = || ekstrack.json(&["upgrade", "show", "prod"])["status"].clone();
    assert_eq!(start(), "upgrade prod is started, in phase Initialization\n");
    assert_eq!(
        start(),
        "upgrade prod is started already, in phase Initialization\n"
    );
    ekstrack.ok(&["upgrade", "pause", "prod"]);
    assert!(start().contains("paused: `ekstrack upgrade resume prod`"));
    assert_eq!(status(), "PAUSED");
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no"]);
    assert_eq!(
        start(),
        "upgrade prod had failed and is started again, in phase Initialization\n"
    );
    assert_eq!(status(), "IN_PROGRESS");
    let complete = || ekstrack.ok(&["upgrade", "complete", "prod", "--if-needed"]);
    assert_eq!(complete(), "upgrade prod is completed\n");
    let document = ekstrack.json(&START);
    assert_eq!(
        (&document["upgrade_id"], &document["status"]),
        (&"prod".into(), &"COMPLETED".into())
    );
    assert_eq!(start(), "upgrade prod is completed already\n");
    assert_eq!(complete(), "upgrade prod is completed already\n");
}

#[test]
fn another_upgrade_of_the_same_id_and_one_that_is_cancelled_are_refused() {
    let ekstrack = Ekstrack::started();
    for (plan, cluster) in [("plan-8", "prod-eu"), ("plan-7", "prod-us")] {
        let mut args = START;
        (args[4], args[6]) = (plan, cluster);
        let output = ekstrack.output(&args);
        assert_eq!(output.status.code(), Some(4));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("for plan plan-7 and cluster \"prod-eu\""), "{said}");
    }
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let output = ekstrack.output(&START);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
