//! What the binary is built from.

/// Clients of networks, and what they would need to speak to anybody. (`hyper` is here as a server.)
const CLIENTS: [&str; 14] = [
    "attohttpc",
    "aws-lc-rs",
    "curl",
    "hf-hub",
    "hickory-resolver",
    "isahc",
    "minreq",
    "native-tls",
    "openssl",
    "reqwest",
    "rustls",
    "sentry",
    "surf",
    "ureq",
];

#[test]
fn case_20_nothing_that_opens_connections_is_built_in() {
    let lock = include_str!("../Cargo.lock");
    let packages: Vec<&str> =
        lock.lines().filter_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(packages.contains(&"hyper"), "the lock file is read");
    for client in CLIENTS {
        assert!(!packages.contains(&client), "{client} is a dependency: Ebb never calls anybody");
    }
}
