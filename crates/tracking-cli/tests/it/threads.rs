//! Where the system allows few threads, or none.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::ekstrack::Ekstrack;

/// A user of whom nobody else has processes: limits do not bind root.
const NOBODY: u32 = 61_234;

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path)
            .unwrap()
            .for_each(|entry| give(&entry.unwrap().path()));
    }
}

#[test]
fn commands_with_few_threads_work_or_say_why_not() {
    let is_root = rustix::process::geteuid().is_root();
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "C", "--id", "c"]);
    fs::create_dir(ekstrack.home().join("small")).unwrap();
    for number in 0..20 {
        fs::write(ekstrack.home().join(format!("small/{number}.log")), [b'x'; 100]).unwrap();
    }
    // Longer than what one thread copies and hashes alone.
    fs::write(ekstrack.home().join("large.log"), vec![b'y'; 9 << 20]).unwrap();
    let program = ekstrack.home().join("ekstrack");
    fs::copy(env!("CARGO_BIN_EXE_ekstrack"), &program).unwrap();
    fs::set_permissions(ekstrack.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut refused = 0;
    for threads in 1..=6 {
        if is_root {
            give(ekstrack.home());
        }
        let limit = format!("--nproc={threads}");
        let user = format!("{NOBODY}");
        let mut wrapper = vec!["prlimit", &limit];
        if is_root {
            let group = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
            wrapper.splice(0..0, group);
        }
        for args in [
            &["artifact", "add", "s", "c", "small", "large.log"][..],
            &["search", "x"],
            &["verify"],
        ] {
            let plain = ekstrack.command(args);
            let output = Command::new(wrapper[0])
                .args(wrapper.get(1..).unwrap())
                .arg(&program)
                .args(args)
                .current_dir(ekstrack.home())
                .env_clear()
                .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(!errors.contains("panicked"), "{threads}: {args:?}: {errors}");
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 5)),
                "{threads}: {args:?}: {code:?}: {errors}"
            );
            if code == Some(5) && errors.contains("ulimit -u") {
                refused += 1;
            }
        }
    }
    let verified = ekstrack.json(&["verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(
        refused >= 2,
        "with one thread no command works that needs another: {refused}"
    );
}
