//! Hints for causes that are the same for every service.

/// No credentials were found.
pub const NO_CREDENTIALS: &str = "give credentials the way the AWS tools take them: AWS_PROFILE, `aws sso login`, or a role of this machine";
/// They have expired.
pub const EXPIRED_CREDENTIALS: &str = "renew the credentials, for example with `aws sso login`";
/// The server does not know them, or their secret is wrong.
pub const WRONG_CREDENTIALS: &str =
    "check the access key and its secret, and that they are for this endpoint";
/// The answer took too long.
pub const TIMED_OUT: &str =
    "check that this is the right endpoint, and the network on the way: proxies, firewalls, VPC endpoints";
/// Nobody listens, or the connection broke.
pub const NO_CONNECTION: &str = "check that the endpoint is up and that nothing on the way blocks it";
/// The connection could not be secured.
pub const TLS: &str = "check the endpoint's certificate and the machine's trusted roots, or whether the endpoint speaks https at all";
/// Something on the way answered in place of the service.
pub const NOT_THE_SERVICE: &str = "sign in to this network if it has a captive portal, or let the proxy pass requests to this endpoint, and try again";
/// Nothing is known of it but what the server said.
pub const UNKNOWN: &str = "see what the server said";
