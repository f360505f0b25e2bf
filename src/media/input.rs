//! A reader for untrusted files: it knows how long the file is, reads through a small buffer, returns `None` past the end instead
//! of failing, and never allocates by a length that the file claims.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Large enough to scan quickly, small enough not to waste reads when boxes are skipped over.
const BUFFER_BYTES: usize = 16 * 1024;

/// A file under examination.
pub(super) struct Input<'a, R> {
    reader: BufReader<&'a mut R>,
    position: u64,
    length: u64,
}

impl<'a, R: Read + Seek> Input<'a, R> {
    /// Starts at the beginning, whatever the position of the reader.
    pub(super) fn new(reader: &'a mut R) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            position: 0,
            length,
        })
    }

    /// The length of the file in bytes when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// How many bytes into the file the next read is.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes to `position`, or to the end if that comes first: reads then find nothing.
    pub(super) fn go_to(&mut self, position: u64) -> io::Result<()> {
        let position = position.min(self.length);
        let ahead = i128::from(position) - i128::from(self.position);
        match i64::try_from(ahead) {
            // Keeps the buffer if the target is in it.
            Ok(ahead) => self.reader.seek_relative(ahead)?,
            Err(_) => {
                self.reader.seek(SeekFrom::Start(position))?;
            }
        }
        self.position = position;
        Ok(())
    }

    /// Goes `bytes` ahead. `false`: the file ends before that, and nothing was done.
    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        match self.position.checked_add(bytes) {
            Some(target) if target <= self.length => {
                self.go_to(target)?;
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// The next `N` bytes, or `None` when fewer are left.
    pub(super) fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {
                // `N` is a small constant, so this neither truncates nor overflows.
                self.position = self.position.saturating_add(N as u64);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.go_to_end()?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Up to `limit` bytes from here on. `limit` must be a constant, not a length from the file.
    pub(super) fn take_up_to(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader)
            .take(limit as u64)
            .read_to_end(&mut bytes)?;
        self.position = self.position.saturating_add(read as u64);
        Ok(bytes)
    }

    /// The next byte, or `None` at the end.
    pub(super) fn byte(&mut self) -> io::Result<Option<u8>> {
        Ok(self.take::<1>()?.map(|[byte]| byte))
    }

    /// The next two bytes as a big-endian number.
    pub(super) fn be_u16(&mut self) -> io::Result<Option<u16>> {
        Ok(self.take()?.map(u16::from_be_bytes))
    }

    /// Goes past the next byte that satisfies `wanted`, and returns that byte.
    pub(super) fn find(&mut self, wanted: impl Fn(u8) -> bool) -> io::Result<Option<u8>> {
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(None);
            }
            let found = buffer.iter().position(|byte| wanted(*byte));
            let used = found.map_or(buffer.len(), |at| at.saturating_add(1));
            let byte = found.and_then(|at| buffer.get(at).copied());
            self.reader.consume(used);
            self.position = self.position.saturating_add(used as u64);
            if byte.is_some() {
                return Ok(byte);
            }
        }
    }

    /// Whether the last `window` bytes of the file, or those from `from` on if they are fewer, are all zero.
    ///
    /// Programs that reserve a file's space before they fill it leave such an end until they finish, or if they are interrupted.
    pub(super) fn ends_in_zeros(&mut self, from: u64, window: u64) -> io::Result<bool> {
        let start = from.max(self.length.saturating_sub(window));
        self.go_to(start)?;
        Ok(start < self.length && self.find(|byte| byte != 0)?.is_none())
    }

    fn go_to_end(&mut self) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(self.length))?;
        self.position = self.length;
        Ok(())
    }
}
