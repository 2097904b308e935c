//! Certificates and keys: whether the files hold them, and whether the two belong together. Only what can be read without
//! any cryptography is compared: the public key that stands in both.

use std::fs;
use std::path::Path;

/// What is wrong with a certificate and its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// The certificate's file holds no certificate.
    NoCertificate,
    /// The key's file holds no private key.
    NoKey,
    /// The key is protected by a pass phrase, for which nobody is there to ask.
    Encrypted,
    /// They do not belong together.
    Different,
}

/// Compares a certificate with a key; `None` when nothing is wrong or nothing can be said.
pub(super) fn compare(cert: &Path, key: &Path) -> Option<Mismatch> {
    let cert = fs::read_to_string(cert).ok();
    let key = fs::read_to_string(key).ok();
    let certificate = match &cert {
        Some(text) => match pem(text, "CERTIFICATE") {
            Some(der) => Some(der),
            None => return Some(Mismatch::NoCertificate),
        },
        None => None,
    };
    let text = key?;
    if text.contains("ENCRYPTED") {
        return Some(Mismatch::Encrypted);
    }
    let private = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]
        .iter()
        .find_map(|label| pem(&text, label).map(|der| (*label, der)));
    let Some((label, private)) = private else { return Some(Mismatch::NoKey) };
    let public = public_of_certificate(&certificate?)?;
    match public_of_key(label, &private)? {
        own if own == public => None,
        _ => Some(Mismatch::Different),
    }
}

/// Whether a file holds certificates.
pub(super) fn holds_certificate(path: &Path) -> Option<bool> {
    fs::read_to_string(path).ok().map(|text| pem(&text, "CERTIFICATE").is_some())
}

/// The first block of a kind in a PEM text.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let start = text.find(&begin)? + begin.len();
    let stop = text[start..].find(&end)? + start;
    base64(&text[start..stop])
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits).to_le_bytes()[0]);
            buffer &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// The public key of a certificate or of a private key: the modulus of RSA, the point of an elliptic curve.
type Public = Vec<u8>;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// One element of DER: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        length @ 0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let (digits, rest) = rest.split_at_checked(count)?;
            (digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// `SubjectPublicKeyInfo`, the seventh element of the inner sequence (the version in front of it is optional).
fn public_of_certificate(der: &[u8]) -> Option<Public> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (inner, _) = expect(certificate, SEQUENCE)?;
    let (tag, _, after) = element(inner)?;
    let mut rest = if tag == 0xa0 { after } else { inner };
    for _ in 0..5 {
        (_, _, rest) = element(rest)?;
    }
    let (info, _) = expect(rest, SEQUENCE)?;
    let (algorithm, rest) = expect(info, SEQUENCE)?;
    let (object, _) = expect(algorithm, OBJECT)?;
    let (bits, _) = expect(rest, BIT_STRING)?;
    let key = bits.get(1..)?;
    match object {
        RSA => {
            let (sequence, _) = expect(key, SEQUENCE)?;
            Some(unsigned(expect(sequence, INTEGER)?.0))
        }
        EC => Some(key.to_vec()),
        _ => None,
    }
}

fn public_of_key(label: &str, der: &[u8]) -> Option<Public> {
    match label {
        "RSA PRIVATE KEY" => modulus(der),
        "EC PRIVATE KEY" => point(der),
        _ => {
            let (info, _) = expect(der, SEQUENCE)?;
            let (_, rest) = expect(info, INTEGER)?;
            let (algorithm, rest) = expect(rest, SEQUENCE)?;
            let (object, _) = expect(algorithm, OBJECT)?;
            let (inner, _) = expect(rest, OCTET_STRING)?;
            match object {
                RSA => modulus(inner),
                EC => point(inner),
                _ => None,
            }
        }
    }
}

fn modulus(der: &[u8]) -> Option<Public> {
    let (sequence, _) = expect(der, SEQUENCE)?;
    let (_, rest) = expect(sequence, INTEGER)?;
    Some(unsigned(expect(rest, INTEGER)?.0))
}

/// The public part of an EC key is optional, but every tool writes it.
fn point(der: &[u8]) -> Option<Public> {
    let (sequence, _) = expect(der, SEQUENCE)?;
    let (_, rest) = expect(sequence, INTEGER)?;
    let (_, mut rest) = expect(rest, OCTET_STRING)?;
    while let Some((tag, content, after)) = element(rest) {
        if tag == 0xa1 {
            return Some(expect(content, BIT_STRING)?.0.get(1..)?.to_vec());
        }
        rest = after;
    }
    None
}

fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes() {
        assert_eq!(base64("aGVs\nbG8=").unwrap(), b"hello");
        assert!(base64("a!").is_none());
    }

    #[test]
    fn broken_der_says_nothing() {
        for bytes in [&b""[..], &[0x30], &[0x30, 0x84], &[0x30, 0x05, 0x30], &[0x30, 0x80, 0, 0]] {
            assert!(public_of_certificate(bytes).is_none());
            assert!(public_of_key("PRIVATE KEY", bytes).is_none());
        }
    }
}
