//! What `strace -f -y` wrote, as operations with a beginning and an end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One call of the system that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// The line where it began.
    pub begin: usize,
    /// The line where it had come back.
    pub end: usize,
    pub what: What,
}

/// What the call did, as far as a power cut is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A name came to be by opening.
    Create(PathBuf),
    /// Content of a file changed; the bytes where they are known.
    Write(PathBuf, Vec<u8>),
    /// A file or a folder is durable.
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Unlink(PathBuf),
    Mkdir(PathBuf),
    /// Bytes went out on a socket.
    Send(Vec<u8>),
}

/// The calls that `strace` has to follow for [`parse`].
pub const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,splice,\
                         ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,\
                         mkdir,mkdirat,sendto,sendmsg";

/// Reads a trace. Calls that failed are left out, and so are those that never came back.
pub fn parse(text: &str) -> Vec<Op> {
    let mut pending: HashMap<&str, (usize, String)> = HashMap::new();
    let mut ops = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // PID TIME CALL
        let Some((pid, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let Some((_, call)) = rest.trim_start().split_once(' ') else {
            continue;
        };
        let (begin, whole) = if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            pending.insert(pid, (number, start.to_owned()));
            continue;
        } else if call.starts_with("<... ") {
            let (Some((begin, start)), Some((_, tail))) =
                (pending.remove(pid), call.split_once(" resumed>"))
            else {
                continue;
            };
            (begin, format!("{start}{tail}"))
        } else {
            (number, call.to_owned())
        };
        if let Some(what) = read(&whole) {
            ops.push(Op {
                begin,
                end: number,
                what,
            });
        }
    }
    ops
}

/// A call that has come back.
fn read(call: &str) -> Option<What> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments = split(arguments.trim_end().strip_suffix(')')?);
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    match name {
        "open" | "creat" => created(argument(0)?, call),
        "openat" => created(argument(1)?, call),
        "write" | "pwrite64" | "sendto" => data(argument(0)?, quoted(argument(1)?)),
        "writev" | "pwritev" | "pwritev2" | "sendmsg" => data(argument(0)?, vectors(argument(1)?)),
        "ftruncate" | "fallocate" => data(argument(0)?, Vec::new()),
        "copy_file_range" | "splice" => data(argument(2)?, Vec::new()),
        "sendfile" => data(argument(0)?, Vec::new()),
        "fsync" | "fdatasync" => Some(What::Sync(file(argument(0)?)?)),
        "rename" => Some(What::Rename(path(argument(0)?), path(argument(1)?))),
        "renameat" | "renameat2" => Some(What::Rename(
            at(argument(0)?, argument(1)?),
            at(argument(2)?, argument(3)?),
        )),
        "link" => Some(What::Link(path(argument(0)?), path(argument(1)?))),
        "linkat" => Some(What::Link(
            at(argument(0)?, argument(1)?),
            at(argument(2)?, argument(3)?),
        )),
        "unlink" => Some(What::Unlink(path(argument(0)?))),
        "unlinkat" => Some(What::Unlink(at(argument(0)?, argument(1)?))),
        "mkdir" => Some(What::Mkdir(path(argument(0)?))),
        "mkdirat" => Some(What::Mkdir(at(argument(0)?, argument(1)?))),
        _ => None,
    }
}

fn created(name: &str, call: &str) -> Option<What> {
    (call.contains("O_CREAT") || call.starts_with("creat(")).then(|| What::Create(path(name)))
}

fn data(descriptor: &str, bytes: Vec<u8>) -> Option<What> {
    let target = target(descriptor)?;
    if target.starts_with("socket:") || target.starts_with("TCP") {
        return Some(What::Send(bytes));
    }
    Some(What::Write(file(descriptor)?, bytes))
}

/// `5</a/b>` → `/a/b`.
fn target(descriptor: &str) -> Option<&str> {
    descriptor.split_once('<')?.1.strip_suffix('>')
}

/// The path behind a descriptor, if it is a file's.
fn file(descriptor: &str) -> Option<PathBuf> {
    let target = target(descriptor)?;
    target.starts_with('/').then(|| PathBuf::from(target))
}

fn path(argument: &str) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&quoted(argument)).into_owned())
}

/// A name below a folder's descriptor; an absolute one stands for itself.
fn at(folder: &str, name: &str) -> PathBuf {
    Path::new(target(folder).unwrap_or_default()).join(path(name))
}

/// All strings of `[{iov_base="…", iov_len=3}, …]`, one after another.
fn vectors(argument: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = argument;
    while let Some((_, next)) = rest.split_once('"') {
        let end = closing(next);
        all.extend(unescape(&next[..end]));
        rest = next.get(end + 1..).unwrap_or_default();
    }
    all
}

fn quoted(argument: &str) -> Vec<u8> {
    match argument.split_once('"') {
        Some((_, rest)) => unescape(&rest[..closing(rest)]),
        None => Vec::new(),
    }
}

/// Where the string ends whose opening quotation mark has been read.
fn closing(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes().peekable();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'f') => out.push(0x0c),
            Some(b'v') => out.push(0x0b),
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    match bytes.peek() {
                        Some(next @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(next - b'0');
                            bytes.next();
                        }
                        _ => break,
                    }
                }
                out.push(u8::try_from(value & 0xff).unwrap());
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// Arguments, split at commas outside of strings and brackets.
fn split(arguments: &str) -> Vec<String> {
    let (mut all, mut one) = (Vec::new(), String::new());
    let (mut depth, mut in_string, mut escaped) = (0_i32, false, false);
    for character in arguments.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else {
            match character {
                '"' => in_string = true,
                '[' | '{' | '(' => depth += 1,
                ']' | '}' | ')' => depth -= 1,
                ',' if depth == 0 => {
                    all.push(std::mem::take(&mut one));
                    continue;
                }
                _ => {}
            }
        }
        if !(one.is_empty() && character == ' ') {
            one.push(character);
        }
    }
    all.push(one);
    all
}

#[test]
fn a_trace_is_read_with_calls_that_overlap() {
    let text = concat!(
        "10 12:00:00.1 pwrite64(7</s/j-wal>, \"a\\\"b\\0\\n\\377\", 6, 32 <unfinished ...>\n",
        "11 12:00:00.2 renameat2(AT_FDCWD</w>, \"/o/.p, (1)\", AT_FDCWD</w>, \"x\", RENAME_NOREPLACE) = 0\n",
        "10 12:00:00.3 <... pwrite64 resumed>) = 6\n",
        "11 12:00:00.4 fsync(8</o>)                = 0\n",
        "11 12:00:00.5 unlink(\"/o/none\") = -1 ENOENT (No such file or directory)\n",
        "11 12:00:00.6 writev(9<socket:[77]>, [{iov_base=\"POST \", iov_len=5}, {iov_base=\"/v1\", iov_len=3}], 2) = 8\n",
        "11 12:00:00.7 openat(AT_FDCWD</w>, \"/o/n\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 9</o/n>\n",
        "11 12:00:00.8 copy_file_range(4</a>, NULL, 9</o/n>, NULL, 100, 0) = 100\n",
    );
    let path = |text: &str| PathBuf::from(text);
    let op = |begin, end, what| Op { begin, end, what };
    assert_eq!(
        parse(text),
        [
            op(1, 1, What::Rename(path("/o/.p, (1)"), path("/w/x"))),
            op(
                0,
                2,
                What::Write(path("/s/j-wal"), b"a\"b\0\n\xff".to_vec())
            ),
            op(3, 3, What::Sync(path("/o"))),
            op(5, 5, What::Send(b"POST /v1".to_vec())),
            op(6, 6, What::Create(path("/o/n"))),
            op(7, 7, What::Write(path("/o/n"), Vec::new())),
        ]
    );
}
