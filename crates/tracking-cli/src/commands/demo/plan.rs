//! The simulated upgrade: what is done, in which order, how long it takes, and what it leaves.

use tracking_facade::TaskType;

use super::evidence::Content;

pub(super) const CLUSTER: &str = "prod-eu-1";
pub(super) const PLAN_ID: &str = "blue-green-1.32";
pub(super) const FROM: &str = "1.31";
pub(super) const TO: &str = "1.32";

/// A task of the plan, with its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: TaskType,
    /// Its share among its siblings: about the seconds that it takes.
    pub(super) weight: f64,
    pub(super) work: Work,
    /// What is kept when it is done.
    pub(super) leaves: &'static [File],
}

/// What a task consists of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Other tasks, one after the other.
    InOrder(&'static [Task]),
    /// Other tasks, side by side.
    AtOnce(&'static [Task]),
    /// Steps of its own.
    Steps(Steps),
}

/// Steps of equal length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) count: u64,
    /// What one is, in the singular: `node`.
    pub(super) unit: &'static str,
    /// Of all of them, in milliseconds at speed 1.
    pub(super) millis: u64,
    pub(super) trouble: Trouble,
}

/// What does not go as planned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    None,
    /// The first try fails after so many steps; the second succeeds.
    Fails {
        after: u64,
        error: &'static str,
    },
    /// Before the last step it waits for something outside.
    Waits {
        reason: &'static str,
        millis: u64,
    },
}

/// A file that a task leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) content: Content,
    pub(super) tags: &'static [&'static str],
}

const fn file(name: &'static str, content: Content, tags: &'static [&'static str]) -> File {
    File { name, content, tags }
}

/// A task with steps of its own, of `millis` in all.
const fn steps(id: &'static str, name: &'static str, count: u64, unit: &'static str, millis: u64) -> Task {
    let steps = Steps {
        count,
        unit,
        millis,
        trouble: Trouble::None,
    };
    group(id, name, millis as f64 / 1000.0, Work::Steps(steps))
}

/// A task that consists of others.
const fn group(id: &'static str, name: &'static str, weight: f64, work: Work) -> Task {
    Task {
        id,
        name,
        kind: UpgradeStep,
        weight,
        work,
        leaves: &[],
    }
}

impl Task {
    const fn of_kind(mut self, kind: TaskType) -> Self {
        self.kind = kind;
        self
    }

    const fn leaving(mut self, leaves: &'static [File]) -> Self {
        self.leaves = leaves;
        self
    }

    const fn with(mut self, trouble: Trouble) -> Self {
        if let Work::Steps(steps) = &mut self.work {
            steps.trouble = trouble;
        }
        self
    }

    /// The tasks that it consists of.
    pub(super) const fn parts(&self) -> &'static [Self] {
        match self.work {
            Work::InOrder(parts) | Work::AtOnce(parts) => parts,
            Work::Steps(_) => &[],
        }
    }
}

use Content::{Backup, Chart, Inventory, Log, Manifest, Measurements, Report, TestResults};
use TaskType::{Cleanup, UpgradeStep, Validation};
use Work::{AtOnce, InOrder};

/// The phases, one after the other.
pub(super) const PHASES: &[Task] = &[
    group("perception", "Perception", 1.6, AtOnce(PERCEPTION)).of_kind(Validation),
    group("planning", "Planning", 2.4, InOrder(PLANNING)),
    group("provisioning", "Provisioning", 5.4, InOrder(PROVISIONING)),
    group("add-ons", "Add-ons", 1.7, AtOnce(ADD_ONS)),
    group("traffic", "Traffic shifting", 4.2, InOrder(TRAFFIC)),
    group("validation", "Validation", 2.9, InOrder(VALIDATION)).of_kind(Validation),
    group("clean-up", "Clean-up", 1.9, InOrder(CLEAN_UP)).of_kind(Cleanup),
];

const PERCEPTION: &[Task] = &[
    steps("perception.inventory", "Take inventory", 6, "namespace", 1_400).leaving(&[file(
        "inventory.json",
        Inventory,
        &["inventory", "nodes"],
    )]),
    steps(
        "perception.apis",
        "Scan for deprecated APIs",
        8,
        "manifest",
        1_600,
    )
    .of_kind(Validation)
    .leaving(&[file("deprecated-apis.xml", TestResults, &["api", "pre-check"])]),
    steps("perception.versions", "Read versions in use", 4, "component", 900),
];

const PLANNING: &[Task] = &[
    steps("planning.compatibility", "Check compatibility", 5, "add-on", 600)
        .of_kind(Validation)
        .leaving(&[file("compatibility.xml", TestResults, &["add-ons", "pre-check"])]),
    steps("planning.budgets", "Check disruption budgets", 4, "budget", 500).of_kind(Validation),
    steps("planning.plan", "Write the plan", 3, "section", 500).leaving(&[file(
        "upgrade-plan.yaml",
        Manifest,
        &["plan"],
    )]),
    steps("planning.backup", "Back up resources", 5, "kind", 800).leaving(&[file(
        "cluster-resources.backup.json",
        Backup,
        &["backup"],
    )]),
];

const PROVISIONING: &[Task] = &[
    steps(
        "provisioning.control-plane",
        "Upgrade control plane",
        4,
        "step",
        1_000,
    )
    .with(Trouble::Waits {
        reason: "EKS to report ACTIVE",
        millis: 1_300,
    })
    .leaving(&[file("control-plane.log", Log, &["control-plane"])]),
    group(
        "provisioning.green",
        "Create green nodes",
        2.7,
        AtOnce(NODE_GROUPS),
    ),
    steps("provisioning.cordon", "Cordon blue nodes", 8, "node", 400),
];

const NODE_GROUPS: &[Task] = &[
    steps("provisioning.green.general", "general-green", 6, "node", 1_900).leaving(&[file(
        "general-green.log",
        Log,
        &["nodes"],
    )]),
    steps("provisioning.green.compute", "compute-green", 8, "node", 2_300).leaving(&[file(
        "compute-green.log",
        Log,
        &["nodes"],
    )]),
    steps("provisioning.green.gpu", "gpu-green", 3, "node", 1_200)
        .with(Trouble::Fails {
            after: 2,
            error: "InsufficientInstanceCapacity: no g5.2xlarge in eu-west-1b",
        })
        .leaving(&[
            file("gpu-green-failure.log", Log, &["nodes", "gpu", "failure"]),
            file("gpu-green.log", Log, &["nodes", "gpu"]),
        ]),
];

const ADD_ONS: &[Task] = &[
    steps("add-ons.coredns", "CoreDNS", 3, "replica", 900),
    steps("add-ons.kube-proxy", "kube-proxy", 6, "node", 1_100),
    steps("add-ons.vpc-cni", "Amazon VPC CNI", 6, "node", 1_500).leaving(&[file(
        "vpc-cni.yaml",
        Manifest,
        &["add-ons", "network"],
    )]),
    steps("add-ons.ebs-csi", "EBS CSI driver", 4, "replica", 1_300),
    group("add-ons.ingress", "Ingress", 1.7, InOrder(INGRESS)),
];

const INGRESS: &[Task] = &[
    steps("add-ons.ingress.controller", "Load balancers", 2, "replica", 900).leaving(&[file(
        "load-balancer-controller.log",
        Log,
        &["add-ons", "network"],
    )]),
    steps("add-ons.ingress.certificates", "cert-manager", 3, "replica", 800),
];

const TRAFFIC: &[Task] = &[
    steps("traffic.10", "Shift 10 % to green", 5, "check", 800).leaving(&[file(
        "traffic-10.csv",
        Measurements,
        &["traffic"],
    )]),
    steps("traffic.25", "Shift 25 % to green", 5, "check", 800).leaving(&[file(
        "traffic-25.csv",
        Measurements,
        &["traffic"],
    )]),
    steps("traffic.50", "Shift 50 % to green", 5, "check", 800).leaving(&[file(
        "traffic-50.csv",
        Measurements,
        &["traffic"],
    )]),
    steps("traffic.75", "Shift 75 % to green", 5, "check", 800).leaving(&[file(
        "traffic-75.csv",
        Measurements,
        &["traffic"],
    )]),
    steps("traffic.100", "Shift 100 % to green", 6, "check", 1_000).leaving(&[
        file("traffic-100.csv", Measurements, &["traffic"]),
        file("traffic.svg", Chart, &["traffic", "dashboard"]),
    ]),
];

const VALIDATION: &[Task] = &[
    group("validation.smoke", "Smoke tests", 1.2, AtOnce(SMOKE)).of_kind(Validation),
    steps("validation.load", "Load test", 10, "stage", 1_200)
        .of_kind(Validation)
        .leaving(&[file("load-test.csv", Measurements, &["load-test"])]),
    steps("validation.compare", "Compare error rates", 4, "service", 500)
        .of_kind(Validation)
        .leaving(&[file("error-rates.md", Report, &["comparison"])]),
];

const SMOKE: &[Task] = &[
    steps("validation.smoke.http", "HTTP endpoints", 12, "endpoint", 1_200)
        .of_kind(Validation)
        .leaving(&[file("smoke-http.xml", TestResults, &["smoke"])]),
    steps("validation.smoke.dns", "Cluster DNS", 5, "lookup", 700)
        .of_kind(Validation)
        .leaving(&[file("smoke-dns.xml", TestResults, &["smoke", "network"])]),
    steps(
        "validation.smoke.storage",
        "Persistent volumes",
        4,
        "volume",
        1_000,
    )
    .of_kind(Validation)
    .leaving(&[file("smoke-storage.xml", TestResults, &["smoke", "storage"])]),
];

const CLEAN_UP: &[Task] = &[
    steps("clean-up.drain", "Drain blue nodes", 8, "node", 900)
        .of_kind(Cleanup)
        .leaving(&[file("drain.log", Log, &["nodes"])]),
    steps("clean-up.groups", "Delete blue node groups", 3, "node group", 600).of_kind(Cleanup),
    steps("clean-up.report", "Write the report", 3, "section", 400).leaving(&[file(
        "upgrade-report.md",
        Report,
        &["report"],
    )]),
];

/// The plan as a list: each task with what it is part of, parents first.
pub(super) fn all() -> Vec<(Option<&'static Task>, &'static Task)> {
    let mut tasks = Vec::new();
    for phase in PHASES {
        list(None, phase, &mut tasks);
    }
    tasks
}

fn list(
    parent: Option<&'static Task>,
    task: &'static Task,
    tasks: &mut Vec<(Option<&'static Task>, &'static Task)>,
) {
    tasks.push((parent, task));
    for part in task.parts() {
        list(Some(task), part, tasks);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tracking_facade::TaskId;

    use super::*;

    /// Milliseconds from start to end at speed 1.
    fn takes(task: &Task) -> u64 {
        match task.work {
            InOrder(parts) => parts.iter().map(takes).sum(),
            AtOnce(parts) => parts.iter().map(takes).max().unwrap_or(0),
            Work::Steps(steps) => match steps.trouble {
                Trouble::None => steps.millis,
                Trouble::Fails { after, .. } => steps.millis + steps.millis * after / steps.count,
                Trouble::Waits { millis, .. } => steps.millis + millis,
            },
        }
    }

    #[test]
    fn the_plan_is_consistent() {
        let tasks = all();
        let ids: HashSet<&str> = tasks.iter().map(|(_, task)| task.id).collect();
        assert_eq!(ids.len(), tasks.len(), "ids are unique");
        for (parent, task) in &tasks {
            assert!(TaskId::new(task.id).is_ok(), "{} is an id", task.id);
            assert!(task.weight > 0.0, "{} has a weight", task.id);
            if let Some(parent) = parent {
                let within = task.id.strip_prefix(parent.id);
                assert!(
                    within.is_some_and(|rest| rest.starts_with('.')),
                    "{} tells where it is",
                    task.id
                );
            }
            match task.work {
                Work::Steps(steps) => {
                    assert!(steps.count > 0);
                    assert!(
                        (200..=3_000).contains(&steps.millis),
                        "{} takes its time",
                        task.id
                    );
                    if let Trouble::Fails { after, .. } = steps.trouble {
                        assert!(after < steps.count);
                    }
                }
                InOrder(parts) | AtOnce(parts) => assert!(!parts.is_empty()),
            }
        }
        let files = || tasks.iter().flat_map(|(_, task)| task.leaves);
        let names: HashSet<&str> = files().map(|file| file.name).collect();
        assert_eq!(names.len(), files().count(), "files have names of their own");
    }

    #[test]
    fn it_is_of_the_size_that_it_promises() {
        let tasks = all();
        assert!((38..=46).contains(&tasks.len()), "{} tasks", tasks.len());
        let total: u64 = PHASES.iter().map(takes).sum();
        assert!((18_000..=21_000).contains(&total), "{total} ms");
        let troubles = || {
            tasks.iter().filter_map(|(_, task)| match task.work {
                Work::Steps(steps) => Some(steps.trouble),
                InOrder(_) | AtOnce(_) => None,
            })
        };
        assert_eq!(
            troubles()
                .filter(|trouble| matches!(trouble, Trouble::Fails { .. }))
                .count(),
            1
        );
        assert_eq!(
            troubles()
                .filter(|trouble| matches!(trouble, Trouble::Waits { .. }))
                .count(),
            1
        );
    }
}
