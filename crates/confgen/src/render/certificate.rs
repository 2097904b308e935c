//! Certificates and keys: whether the files hold them, whether they belong together, and what would go wrong with them. Nothing
//! is signed or verified: only what can be read is compared.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::der::{DerObject, parse_der};
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

/// Where systems keep the certificates that everybody trusts.
const TRUSTED: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// OpenSSL's default security level refuses shorter RSA keys.
const SHORTEST_RSA: usize = 2048;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Certificate,
    Key,
    /// The two together.
    Pair,
}

/// Something that is wrong. What httpd refuses is an error; what it serves and clients refuse is a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) about: About,
    pub(super) error: bool,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Finding {
    fn error(about: About, message: String) -> Self {
        Self { about, error: true, message, help: None }
    }

    fn warning(about: About, message: String) -> Self {
        Self { about, error: false, message, help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Judges a certificate with its chain, and its key, for the names of a site. What cannot be read is passed over.
pub(super) fn judge(cert: &Path, key: &Path, hosts: &[&str], now: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    let chain = fs::read(cert).ok().and_then(|bytes| chain(cert, &bytes, About::Certificate, &mut found));
    let parsed: Vec<X509Certificate<'_>> = chain.iter().flatten().filter_map(|der| parse(der)).collect();
    if let Some(leaf) = parsed.first() {
        judge_leaf(cert, leaf, hosts, &mut found);
        judge_chain(cert, &parsed, now, &mut found);
    }
    if let Ok(bytes) = fs::read(key) {
        judge_key(key, &bytes, parsed.first(), &mut found);
    }
    found
}

/// Judges the file with the authorities of client certificates. Returns whether one of them is an intermediate.
pub(super) fn judge_authorities(path: &Path, now: i64) -> (Vec<Finding>, bool) {
    let mut found = Vec::new();
    let chain = fs::read(path).ok().and_then(|bytes| chain(path, &bytes, About::Certificate, &mut found));
    let parsed: Vec<X509Certificate<'_>> = chain.iter().flatten().filter_map(|der| parse(der)).collect();
    judge_times(path, &parsed, now, &mut found);
    let intermediate = parsed.iter().any(|certificate| certificate.subject().as_raw() != certificate.issuer().as_raw());
    (found, intermediate)
}

/// The certificates of a file.
fn chain(path: &Path, bytes: &[u8], about: About, found: &mut Vec<Finding>) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
    if !chain.is_empty() {
        return Some(chain);
    }
    let finding = Finding::error(about, format!("{} holds no certificate in PEM form", path.display()));
    found.push(match parse_der(bytes).is_ok_and(|(_, object)| object.as_sequence().is_ok()) {
        true => {
            finding.help(format!("it is in DER form: `openssl x509 -inform der -in {} -out FILE.pem`", path.display()))
        }
        false => finding,
    });
    None
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

fn judge_leaf(path: &Path, leaf: &X509Certificate<'_>, hosts: &[&str], found: &mut Vec<Finding>) {
    let shown = path.display();
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() < SHORTEST_RSA
    {
        let message = format!(
            "the key of the certificate {shown} has {} bits; OpenSSL refuses less than {SHORTEST_RSA}",
            key.key_size()
        );
        found.push(Finding::error(About::Certificate, message).help("request a certificate for a new key"));
    }
    let names: Vec<String> = match leaf.subject_alternative_name() {
        Ok(Some(extension)) => {
            let names = extension.value.general_names.iter();
            names
                .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(name.to_lowercase()) } else { None })
                .collect()
        }
        _ => Vec::new(),
    };
    let missing: Vec<&str> =
        hosts.iter().copied().filter(|host| !names.iter().any(|name| covers(name, host))).collect();
    if !missing.is_empty() {
        let listed = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
        let message = format!("the certificate {shown} is not for {}: it names {listed}", missing.join(", "));
        found.push(
            Finding::warning(About::Certificate, message)
                .help("request one with every host of the site as subject alternative name"),
        );
    }
}

/// Whether a name of a certificate is good for a host.
fn covers(name: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if name == host {
        return true;
    }
    let Some(suffix) = name.strip_prefix("*.") else { return false };
    host.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix)
}

fn judge_times(path: &Path, certificates: &[X509Certificate<'_>], now: i64, found: &mut Vec<Finding>) {
    for certificate in certificates {
        let validity = certificate.validity();
        let what = match certificates.len() {
            1 => format!("the certificate {}", path.display()),
            _ => format!("the certificate of {} in {}", certificate.subject(), path.display()),
        };
        if now > validity.not_after.timestamp() {
            let message = format!("{what} expired on {}", validity.not_after);
            found.push(Finding::warning(About::Certificate, message).help("renew it"));
        } else if now < validity.not_before.timestamp() {
            let message = format!("{what} is not valid before {}", validity.not_before);
            found.push(
                Finding::warning(About::Certificate, message)
                    .help("look at the clock of the machine, or use the one before"),
            );
        }
    }
}

fn judge_chain(path: &Path, chain: &[X509Certificate<'_>], now: i64, found: &mut Vec<Finding>) {
    judge_times(path, chain, now, found);
    // The first whose issuer does not come next. The root need not be in the file, and a private one is not in the system's
    // list either: only a certificate that stands alone, or in a wrong order, tells that something is missing.
    let broken = chain.windows(2).position(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw());
    let Some(last) = chain.get(broken.unwrap_or(chain.len().saturating_sub(1))) else { return };
    let issuer = last.issuer();
    let alone = chain.len() == 1 && issuer.as_raw() != last.subject().as_raw() && !is_trusted(issuer.as_raw());
    if broken.is_none() && !alone {
        return;
    }
    let message = format!("an intermediate certificate is missing in {}: that of the issuer {issuer}", path.display());
    found.push(
        Finding::warning(About::Certificate, message)
            .help("append the certificates of the authority (`fullchain.pem`), in their order"),
    );
}

/// Whether the system trusts a certificate with this subject: what it has issued needs no further one.
fn is_trusted(subject: &[u8]) -> bool {
    let Some(bytes) = TRUSTED.iter().find_map(|path| fs::read(path).ok()) else { return false };
    CertificateDer::pem_slice_iter(&bytes)
        .filter_map(Result::ok)
        .any(|der| parse(&der).is_some_and(|certificate| certificate.subject().as_raw() == subject))
}

fn judge_key(path: &Path, bytes: &[u8], leaf: Option<&X509Certificate<'_>>, found: &mut Vec<Finding>) {
    let shown = path.display();
    if String::from_utf8_lossy(bytes).contains("ENCRYPTED") {
        found.push(Finding::error(
            About::Key,
            "the private key has a pass phrase, and nobody is there to enter it".to_owned(),
        ));
        return;
    }
    let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) else {
        let finding = Finding::error(About::Key, format!("{shown} holds no private key in PEM form"));
        found.push(match parse_der(bytes).is_ok_and(|(_, object)| object.as_sequence().is_ok()) {
            true => finding.help(format!("it is in DER form: `openssl pkey -inform der -in {shown} -out FILE.key`")),
            false => finding,
        });
        return;
    };
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
        let message = format!("everybody can read the private key {shown}");
        found.push(Finding::warning(About::Key, message).help(format!("close it: `chmod o-r {shown}`")));
    }
    let (Some(own), Some(public)) = (public_of(&key), leaf.and_then(public_of_certificate)) else { return };
    if own != public {
        found.push(Finding::error(About::Pair, "the private key is not the one of the certificate".to_owned()));
    }
}

/// The public key of a certificate: the modulus of RSA, the point of an elliptic curve.
fn public_of_certificate(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(unsigned(key.modulus)),
        PublicKey::EC(point) => Some(point.data().to_vec()),
        _ => None,
    }
}

/// The same of a private key.
fn public_of(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    match key {
        PrivateKeyDer::Pkcs1(key) => modulus(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => point(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => {
            let (_, info) = parse_der(key.secret_pkcs8_der()).ok()?;
            // The version, the algorithm, the key in its own form.
            let inner = info.as_sequence().ok()?.get(2)?.as_slice().ok()?;
            modulus(inner).or_else(|| point(inner))
        }
        _ => None,
    }
}

fn modulus(der: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = parse_der(der).ok()?;
    let fields = key.as_sequence().ok()?;
    // A version and eight numbers; that of an elliptic curve has fewer fields.
    if fields.len() < 9 {
        return None;
    }
    Some(unsigned(fields.get(1)?.as_slice().ok()?))
}

/// The public part of an EC key is optional, but every tool writes it.
fn point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = parse_der(der).ok()?;
    let tagged = |object: &&DerObject<'_>| object.header.tag().0 == 1 && object.header.is_contextspecific();
    let object = key.as_sequence().ok()?.iter().find(tagged)?;
    let (_, bits) = parse_der(object.as_slice().ok()?).ok()?;
    Some(bits.as_bitstring_ref().ok()?.data.to_vec())
}

fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_hosts() {
        assert!(
            covers("a.example", "A.example") && covers("*.example", "a.example") && covers("*.example", "*.example")
        );
        assert!(
            !covers("*.example", "a.b.example") && !covers("*.example", "example") && !covers("a.example", "b.example")
        );
    }

    #[test]
    fn broken_keys_say_nothing() {
        for bytes in [&b""[..], &[0x30], &[0x30, 0x84], &[0x30, 0x05, 0x30], &[0x30, 0x80, 0, 0]] {
            assert!(modulus(bytes).is_none() && point(bytes).is_none());
        }
    }
}
