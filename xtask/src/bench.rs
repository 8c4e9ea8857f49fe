//! `cargo xtask bench`: runs the benchmarks of all crates, or those named.

use cargo_metadata::{Package, Target};

use crate::error::TaskError;
use crate::flags::BenchFlags;
use crate::invocation::Invocation;
use crate::setup::{self, Tool};
use crate::workspace::Workspace;

/// Runs or lists benchmarks.
pub(crate) fn run(workspace: &Workspace, flags: &BenchFlags) -> Result<(), TaskError> {
    let all: Vec<_> = workspace.benches().collect();
    if flags.list {
        for (package, target) in all {
            println!("{} ({})", target.name, package.name);
        }
        return Ok(());
    }
    if all.is_empty() {
        println!("there are no benchmarks");
    }
    setup::ensure(Tool::BENCHES)?;
    for (package, target) in select(&all, &flags.names)? {
        println!("\n=== {} ({}) ===", target.name, package.name);
        invocation(package, target, &flags.args).run()?;
    }
    Ok(())
}

/// The benchmarks with these names, in the order of the names; all when there are none.
fn select<'a>(
    all: &[(&'a Package, &'a Target)],
    names: &[String],
) -> Result<Vec<(&'a Package, &'a Target)>, TaskError> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| {
        all.iter()
            .find(|(_, target)| target.name == *name)
            .copied()
            .ok_or_else(|| {
                let known: Vec<_> = all.iter().map(|(_, target)| target.name.as_str()).collect();
                TaskError::UnknownBench {
                    name: name.clone(),
                    known: known.join(", "),
                }
            })
    };
    names.iter().map(find).collect()
}

fn invocation(package: &Package, target: &Target, args: &[String]) -> Invocation {
    let mut invocation =
        Invocation::cargo("bench --package").args([package.name.as_str(), "--bench", target.name.as_str()]);
    if !target.required_features.is_empty() {
        invocation = invocation.args(["--features".to_owned(), target.required_features.join(",")]);
    }
    if args.is_empty() {
        invocation
    } else {
        invocation.args(["--"]).args(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture::workspace_with_targets;

    #[test]
    fn selects_all_or_those_named_in_their_order() {
        let workspace = workspace_with_targets(&[("a", &[], &["one"]), ("b", &[], &["two"])]);
        let all: Vec<_> = workspace.benches().collect();
        let commands = |names: &[&str]| -> Vec<String> {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let selected = select(&all, &names).unwrap();
            selected
                .into_iter()
                .map(|(package, target)| invocation(package, target, &[]).to_string())
                .collect()
        };
        assert_eq!(
            commands(&[]),
            [
                "cargo bench --package a --bench one",
                "cargo bench --package b --bench two"
            ]
        );
        assert_eq!(commands(&["two"]), ["cargo bench --package b --bench two"]);
    }

    #[test]
    fn an_unknown_benchmark_is_an_error_that_lists_the_known() {
        let workspace = workspace_with_targets(&[("a", &[], &["one", "two"])]);
        let all: Vec<_> = workspace.benches().collect();
        let error = select(&all, &["three".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no benchmark is named `three`; there are: one, two"
        );
    }
}
