//! Names this server answers to.
//!
//! A page of `evil.example` may point that name at 127.0.0.1 and then speak to this server as its own (DNS
//! rebinding); what it cannot do is leave its name out of `Host`. Only names can be pointed elsewhere, so an IP
//! address is always good.

use std::net::IpAddr;

use axum::http::HeaderValue;

/// Whether `Host` is an address, `localhost`, or one of `names`.
pub(crate) fn allowed(host: Option<&HeaderValue>, names: &[String]) -> bool {
    // Every browser sends it; scripts of the HTTP/1.0 kind may not.
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = name(host);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// The name of `name:port`; brackets of an IPv6 address are taken off.
pub(crate) fn name(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.split_once(':') {
        // More than one colon: a bare IPv6 address.
        Some((name, rest)) if !rest.contains(':') => name,
        _ => authority,
    }
}

/// The port of `name:port`.
pub(crate) fn port(authority: &str) -> Option<u16> {
    let after = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.1,
        None if authority.matches(':').count() > 1 => return None,
        None => &authority[authority.find(':')?..],
    };
    after.strip_prefix(':')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(host: &str, names: &[String]) -> bool {
        allowed(Some(&HeaderValue::from_str(host).expect("a header")), names)
    }

    #[test]
    fn addresses_and_localhost_are_good() {
        for host in [
            "127.0.0.1:8188",
            "127.0.0.1",
            "[::1]:8188",
            "localhost:1",
            "LOCALHOST",
            "192.168.1.7:8188",
            "a.localhost",
        ] {
            assert!(ok(host, &[]), "{host}");
        }
        assert!(allowed(None, &[]));
    }

    #[test]
    fn foreign_names_are_refused_until_they_are_allowed() {
        for host in
            ["evil.example", "evil.example:8188", "127.0.0.1.evil.example", "localhost.evil.example", ""]
        {
            assert!(!ok(host, &[]), "{host}");
        }
        assert!(ok("Box.lan:8188", &["box.lan".to_owned()]));
    }

    #[test]
    fn parts_of_an_authority() {
        assert_eq!((name("a:1"), port("a:1")), ("a", Some(1)));
        assert_eq!((name("[::1]:8188"), port("[::1]:8188")), ("::1", Some(8188)));
        assert_eq!((name("::1"), port("::1")), ("::1", None));
        assert_eq!((name("a"), port("a")), ("a", None));
        assert_eq!(port("a:x"), None);
    }
}
