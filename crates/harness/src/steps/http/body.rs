//! What a request carries, in pieces that are made while they are sent: a body of a gigabyte takes no memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::scenario::schema::{Multipart, Part};
use crate::steps::stage::Stage;
use crate::steps::wire::Source;

/// Between the parts of a form with files. Fixed, so that requests are the same in every run.
pub(super) const BOUNDARY: &str = "----harness-7MA4YWxkTrZu0gW";

/// What generated bodies repeat.
pub(super) const FILLER: &[u8; 16] = b"0123456789abcdef";

/// How much of a body becomes one chunk.
const CHUNK: usize = 8192;

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Text(Vec<u8>),
    /// [`FILLER`], again and again, up to so many bytes.
    Filler(u64),
    /// The first so many bytes of a file: what it had when the request was made.
    File(PathBuf, u64),
}

/// A body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Body(pub(super) Vec<Piece>);

impl Body {
    pub(super) fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Piece::Text(bytes.into())])
    }

    pub(super) fn filler(size: u64) -> Self {
        Self(vec![Piece::Filler(size)])
    }

    pub(super) fn file(path: &Path) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        if !metadata.is_file() {
            return Err(format!("cannot send {}: it is not a file", path.display()));
        }
        Ok(Self(vec![Piece::File(path.to_owned(), metadata.len())]))
    }

    /// A form with files.
    pub(super) fn multipart(fields: &Multipart, stage: &Stage) -> Result<Self, String> {
        let quoted =
            |text: &str| text.replace('\\', "\\\\").replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let mut body = Self::default();
        for (name, part) in fields {
            body.push(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(name)).as_bytes());
            match part {
                Part::Text(text) => {
                    body.push(b"\r\n\r\n");
                    body.push(text.as_bytes());
                }
                Part::File(upload) => {
                    let media_type = upload.media_type.as_deref().unwrap_or("application/octet-stream");
                    let head = format!("; filename=\"{}\"\r\nContent-Type: {media_type}\r\n\r\n", quoted(&upload.file));
                    body.push(head.as_bytes());
                    match (&upload.content, upload.bytes) {
                        (Some(content), _) => body.push(content.as_bytes()),
                        (None, Some(size)) => body.0.push(Piece::Filler(size.0)),
                        (None, None) => body.0.extend(Self::file(&stage.path(&upload.file))?.0),
                    }
                }
            }
            body.push(b"\r\n");
        }
        body.push(format!("--{BOUNDARY}--\r\n").as_bytes());
        Ok(body)
    }

    /// Adds bytes at the end.
    fn push(&mut self, bytes: &[u8]) {
        if let Some(Piece::Text(text)) = self.0.last_mut() {
            text.extend_from_slice(bytes);
        } else {
            self.0.push(Piece::Text(bytes.to_vec()));
        }
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Filler(size) | Piece::File(_, size) => *size,
        };
        self.0.iter().map(length).sum()
    }

    /// Its bytes. A file that is shorter than it was is an error when its end comes.
    pub(super) fn reader(&self) -> io::Result<Source> {
        let mut reader: Source = Box::new(io::empty());
        for piece in &self.0 {
            let next: Source = match piece {
                Piece::Text(text) => Box::new(io::Cursor::new(text.clone())),
                Piece::Filler(size) => Box::new(Filler { place: 0 }.take(*size)),
                Piece::File(path, size) => Box::new(Whole { file: File::open(path)?, left: *size }),
            };
            reader = Box::new(reader.chain(next));
        }
        Ok(reader)
    }

    /// Its bytes as chunks.
    pub(super) fn chunks(&self) -> io::Result<Source> {
        Ok(Box::new(Chunks { body: self.reader()?, ready: io::Cursor::default(), ended: false }))
    }
}

/// [`FILLER`] without an end.
struct Filler {
    place: usize,
}

impl Read for Filler {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = FILLER[self.place % FILLER.len()];
            self.place = self.place.wrapping_add(1);
        }
        Ok(buffer.len())
    }
}

/// A file that has to have as many bytes as were promised.
struct Whole {
    file: File,
    left: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::other("a file that is sent has become shorter meanwhile"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A body with `Transfer-Encoding: chunked`.
struct Chunks {
    body: Source,
    ready: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.ready.read(buffer)?;
            if count > 0 || self.ended || buffer.is_empty() {
                return Ok(count);
            }
            let mut chunk = Vec::with_capacity(CHUNK);
            self.body.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.append(&mut chunk);
            framed.extend_from_slice(b"\r\n");
            self.ended = framed == b"0\r\n\r\n";
            self.ready = io::Cursor::new(framed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut reader: Source) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn pieces_are_one_body() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "file").unwrap();
        let mut body = Body::text("<");
        body.0.push(Piece::Filler(18));
        body.0.extend(Body::file(&file).unwrap().0);
        body.push(b">");
        assert_eq!((body.length(), all(body.reader().unwrap()).as_str()), (24, "<0123456789abcdef01file>"));
        assert_eq!(all(body.chunks().unwrap()), "18\r\n<0123456789abcdef01file>\r\n0\r\n\r\n");
        assert_eq!(all(Body::default().chunks().unwrap()), "0\r\n\r\n");
        // More bytes than it had are not sent, fewer are an error: the length has been promised.
        std::fs::write(&file, "file and more").unwrap();
        assert_eq!(all(body.reader().unwrap()), "<0123456789abcdef01file>");
        std::fs::write(&file, "fil").unwrap();
        assert!(body.reader().unwrap().read_to_end(&mut Vec::new()).is_err());
        assert!(Body::file(folder.path()).unwrap_err().contains("not a file"));
    }

    #[test]
    fn long_bodies_have_many_chunks() {
        let text = all(Body::filler(CHUNK as u64 + 1).chunks().unwrap());
        assert!(text.starts_with("2000\r\n0123") && text.ends_with("\r\n1\r\n0\r\n0\r\n\r\n"), "{text}");
    }
}
