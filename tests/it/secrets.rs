//! Secrets of requests that S3 answers: none is logged, and the password of an address is nobody's business.

use test_servers::{FsServer, SECRET_KEY};

use crate::machine::Machine;

const TOKEN: &str = "opaque/session+token=of-no-known-form-0123456789";

#[test]
fn no_log_shows_what_signs_a_request_or_an_address() {
    let server = FsServer::start();
    let mut machine = Machine::new(&server.endpoint());
    machine.endpoint = server.endpoint().replace("http://", "http://kate:pw-sesame@");
    let log = machine.file("a.log", "one line\n");
    let quiet = |args: &[&str]| {
        let output = machine
            .command(args)
            .arg("-vvvv")
            .env("AWS_SESSION_TOKEN", TOKEN)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {said}");
        for secret in [SECRET_KEY, TOKEN, "opaque%2Fsession", "pw-sesame"] {
            assert!(!said.contains(secret), "{secret} of {args:?}: {said}");
        }
        assert!(said.contains("TRACE"), "{args:?} logs");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    quiet(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    quiet(&["session", "create", "up", "--cluster", "c", "--name", "s"]);
    let session = machine.ok(&["session", "list"])["sessions"][0]["session_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let made = machine.ok(&["collection", "create", &session, "c"]);
    let collection = made["collection_id"].as_str().unwrap();
    quiet(&["artifact", "add", &session, collection, &log]);
    let found = machine.ok(&["search", "a.log"]);
    let id = found["artifacts"][0]["artifact_id"].as_str().unwrap();

    let (url, said) = quiet(&["artifact", "url", id]);
    // The address is the result, with all that signs it, but for the password of the endpoint.
    let (_, signature) = url.trim().split_once("X-Amz-Signature=").unwrap();
    let (signature, _) = signature.split_once('&').unwrap_or((signature, ""));
    assert!(url.contains("opaque%2Fsession"), "{url}");
    assert!(!said.contains(signature), "{signature}: {said}");
    assert!(!url.contains("pw-sesame"), "{url}");
}
