//! File names: how long they may be, their parts, and the first that is free.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The longest name that nearly all filesystems accept, in bytes.
pub const LONGEST: usize = 255;
/// The longest name that even filesystems accept which encrypt or encode names, in bytes.
pub const SHORT: usize = 100;

/// The name without its extension.
pub fn stem(name: &OsStr) -> &OsStr {
    let bytes = name.as_bytes();
    match bytes.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => OsStr::from_bytes(bytes.get(..dot).unwrap_or(bytes)),
        _ => name,
    }
}

/// Appends `suffix` to `name`, and shortens `name` at its end where the two are too long for a file name. A UTF-8 character is
/// not cut in two.
pub fn fit(name: &OsStr, suffix: &[u8]) -> OsString {
    fit_into(name, suffix, LONGEST)
}

/// Like [`fit`], for names of at most `max` bytes.
pub fn fit_into(name: &OsStr, suffix: &[u8], max: usize) -> OsString {
    let mut bytes = name.as_bytes();
    let room = max.saturating_sub(suffix.len());
    if bytes.len() > room {
        bytes = bytes.get(..room).unwrap_or(bytes);
        // At most three bytes of a cut UTF-8 character remain. Names that are not UTF-8 are cut anywhere.
        for _ in 0..3 {
            match std::str::from_utf8(bytes) {
                Err(error) if error.error_len().is_none() => {
                    bytes = bytes.get(..error.valid_up_to()).unwrap_or(bytes);
                }
                _ => break,
            }
        }
    }
    let mut fitted = bytes.to_vec();
    fitted.extend_from_slice(suffix);
    OsString::from_vec(fitted)
}

/// Finds the first name that is free: the wanted one, a numbered one, or a shorter one where the filesystem accepts only shorter
/// names.
///
/// `name` makes the n-th name, counted from 1, with at most the given number of bytes. `take` returns what the name is wanted
/// for, or `None` if the name is taken.
pub fn first_free<T>(
    name: impl Fn(u32, usize) -> OsString,
    take: impl Fn(&OsStr) -> io::Result<Option<T>>,
) -> io::Result<T> {
    let mut lengths = [LONGEST, SHORT].into_iter().peekable();
    while let Some(length) = lengths.next() {
        for number in 1_u32.. {
            match take(&name(number, length)) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // This filesystem accepts only shorter names.
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidFilename
                        && lengths.peek().is_some() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::InvalidFilename.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_between_characters() {
        let name = OsString::from("ü".repeat(127));
        let fitted = fit(&name, b".mp4.yaml");
        assert!(fitted.len() <= LONGEST);
        assert!(fitted.to_str().unwrap().ends_with("ü.mp4.yaml"));
        assert_eq!(fit(OsStr::new("cat"), b".mp4"), "cat.mp4");
    }

    #[test]
    fn names_are_numbered_until_one_is_free_and_shorter_where_they_have_to_be() {
        let name = |number: u32, length: usize| {
            fit_into(
                OsStr::new(&"a".repeat(200)),
                format!(" {number}").as_bytes(),
                length,
            )
        };
        let free = |name: &OsStr| match name.len() {
            144.. => Err(io::ErrorKind::InvalidFilename.into()),
            _ => Ok(name.as_bytes().ends_with(b" 3").then(|| name.to_owned())),
        };
        let found = first_free(name, free).unwrap();
        assert_eq!(found.len(), 100);
        assert!(found.as_bytes().ends_with(b"a 3"));
        let broken =
            |_: &OsStr| -> io::Result<Option<()>> { Err(io::ErrorKind::PermissionDenied.into()) };
        assert_eq!(
            first_free(name, broken).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    }
}
