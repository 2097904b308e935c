//! Content codings of answers.

use std::borrow::Cow;
use std::io::Read;

use super::wire::Response;

/// The largest body that is unpacked; a small one may hold gigabytes of zeros.
const LARGEST: u64 = 256 << 20;

/// The body as the application wrote it: without gzip or deflate. What cannot be unpacked stays as it came.
pub(super) fn decoded(response: &Response) -> Cow<'_, [u8]> {
    let coding = response.header("content-encoding").unwrap_or_default().to_ascii_lowercase();
    let body = response.body.as_slice();
    let unpacked = match coding.trim() {
        "gzip" | "x-gzip" => unpack(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => unpack(flate2::read::ZlibDecoder::new(body)),
        _ => None,
    };
    unpacked.map_or(Cow::Borrowed(body), Cow::Owned)
}

fn unpack(decoder: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= LARGEST).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn response(coding: &str, body: Vec<u8>) -> Response {
        Response { headers: vec![("Content-Encoding".into(), coding.into())], body, ..Response::default() }
    }

    #[test]
    fn packed_bodies_are_unpacked_and_others_stay() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"hello").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(*decoded(&response("gzip", packed.clone())), *b"hello");
        assert_eq!(*decoded(&response("identity", packed.clone())), *packed);
        assert_eq!(*decoded(&response("gzip", packed[..9].to_vec())), packed[..9]);
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"hello").unwrap();
        assert_eq!(*decoded(&response("Deflate", packed.finish().unwrap())), *b"hello");
    }
}
