//! Links between documents: each relative one leads to a file that is there.

use cargo_metadata::camino::Utf8Path;

use crate::sources::SourceFile;

/// Relative links in a Markdown file that lead nowhere under `root`.
pub(crate) fn dead(file: &SourceFile, root: &Utf8Path) -> Vec<String> {
    let dir = file
        .path
        .parent()
        .map(|dir| root.join(dir))
        .unwrap_or_else(|| root.to_owned());
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in file.numbered_lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let dead = targets(line).filter(|target| !dir.join(target).exists());
            findings.extend(dead.map(|target| format!("{}:{number}: `{target}` does not exist", file.path)));
        }
    }
    findings
}

/// The files that `[text](file#anchor)` in a line points to, without links to other sites and within the page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links
        .map(|(target, _)| target.split_once('#').map_or(target, |(file, _)| file))
        .filter(|target| !target.is_empty() && !target.contains(':'))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn links_to_files_that_are_not_there_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir(root.join("docs")).unwrap();
        fs::write(root.join("README.md"), "").unwrap();
        let text = "[up](../README.md#top) and [gone](gone.md), [site](https://example.com), [here](#here)\n\
                    ```\n[code](no.md)\n```\n";
        let file = SourceFile {
            path: "docs/a.md".into(),
            text: text.to_owned(),
        };
        assert_eq!(dead(&file, root), ["docs/a.md:1: `gone.md` does not exist"]);
    }
}
