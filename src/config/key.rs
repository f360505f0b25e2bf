//! The API key: where it comes from, and that it goes nowhere else.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::load::Config;
use super::runway::Runway;
use super::surroundings::{Env, environment, variable};

/// Larger than any key; a larger file is some other file.
const MAX_BYTES: u64 = 4096;

/// A key that can be sent in a header, and where it was found. Its text is in no `Debug` output.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The key itself.
    pub secret: SecretString,
    /// Where it was found.
    pub source: KeySource,
}

/// Where a key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `runway.api_key_file`.
    File(PathBuf),
    /// `runway-api-key` in `$CREDENTIALS_DIRECTORY`, which systemd fills.
    Credential(PathBuf),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File(path) | KeySource::Credential(path) => write!(f, "{}", path.display()),
            KeySource::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// Why there is no key. No message contains any part of one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None of the places has one.
    #[error(
        "there is no API key: neither `runway.api_key_file` nor $CREDENTIALS_DIRECTORY/runway-api-key, \
         RUNWAYML_API_SECRET or RUNWAY_API_KEY is there\n  make a key at https://dev.runwayml.com and put it into a \
         file that only you can read, named by `runway.api_key_file`, or into RUNWAYML_API_SECRET"
    )]
    Missing,
    /// The file is there, or should be, and cannot be read.
    #[error("the API key in {file} cannot be read: {source}\n  check that the file is there and that the user that taxiway runs as may read it", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others on this machine can read the key.
    #[error("other users can read the API key in {file} (mode {mode:03o})\n  run `chmod 600 {file}`", file = .file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The place is there, and empty.
    #[error("the API key in {source} is empty\n  put the key there, or delete the setting", source = .from)]
    Empty {
        /// The place.
        from: KeySource,
    },
    /// What is there cannot be sent as a key.
    #[error("{source} does not contain an API key: there are line ends, spaces or unusual characters in it\n  put the key alone there, as it was copied", source = .from)]
    NotAKey {
        /// The place.
        from: KeySource,
    },
}

/// The shortest token of the status page, in bytes: one that cannot be guessed.
const TOKEN_MIN: usize = 20;

/// Why there is no token for the status page. No message contains any part of one.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the status page's token in {file} cannot be read: {source}\n  check that the file that `web.token_file` names is there and that the user that taxiway runs as may read it", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others on this machine can read it.
    #[error("other users can read the status page's token in {file} (mode {mode:03o})\n  run `chmod 600 {file}`", file = .file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is there is not a token.
    #[error("{file} does not contain a token for the status page: it must be at least {TOKEN_MIN} letters and digits without spaces\n  make one with `openssl rand -hex 32`", file = .file.display())]
    NotAToken {
        /// The file.
        file: PathBuf,
    },
}

/// The token of the status page, from a file that only its owner can read, or from a credential that systemd lets the service
/// read.
///
/// # Errors
/// It cannot be read, others can read it, or it is invalid.
pub fn load_web_token(file: &Path, env: Env<'_>) -> Result<SecretString, TokenError> {
    let not_a_token = || TokenError::NotAToken {
        file: file.to_owned(),
    };
    // systemd decides who may read there, which the mode alone does not show.
    let is_credential = variable(env, "CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| file.parent() == Some(Path::new(&folder)));
    let mode = if is_credential {
        Mode::Any
    } else {
        Mode::Private
    };
    let bytes = read(file, mode).map_err(|error| match error {
        KeyError::Unreadable { file, source } => TokenError::Unreadable { file, source },
        KeyError::Exposed { file, mode } => TokenError::Exposed { file, mode },
        KeyError::Missing | KeyError::Empty { .. } | KeyError::NotAKey { .. } => not_a_token(),
    })?;
    let token = check(&bytes, KeySource::File(file.to_owned())).map_err(|_| not_a_token())?;
    if token.secret.expose_secret().len() < TOKEN_MIN {
        return Err(not_a_token());
    }
    Ok(token.secret)
}

/// Finds the API key: `runway.api_key_file`, `$CREDENTIALS_DIRECTORY/runway-api-key`, `RUNWAYML_API_SECRET`,
/// `RUNWAY_API_KEY`. The first place that exists counts, even if its content is wrong.
///
/// # Errors
/// No key, or one that cannot be read, that others can read, or that is invalid.
pub fn find_key(config: &Config) -> Result<ApiKey, KeyError> {
    find_key_in(&config.runway, &environment)
}

fn find_key_in(runway: &Runway, env: Env<'_>) -> Result<ApiKey, KeyError> {
    if let Some(file) = &runway.api_key_file {
        return check(&read(file, Mode::Private)?, KeySource::File(file.clone()));
    }
    if let Some(folder) = variable(env, "CREDENTIALS_DIRECTORY") {
        let file = Path::new(&folder).join("runway-api-key");
        match read(&file, Mode::Any) {
            Ok(text) => return check(&text, KeySource::Credential(file)),
            // A service may have other credentials and take this one from elsewhere.
            Err(KeyError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for name in ["RUNWAYML_API_SECRET", "RUNWAY_API_KEY"] {
        if let Some(value) = variable(env, name) {
            return check(value.as_encoded_bytes(), KeySource::Variable(name));
        }
    }
    Err(KeyError::Missing)
}

/// A secret other than the API key: the text of a file that only its owner can read, without the white space around it.
///
/// # Errors
/// It cannot be read, others can read it, or it is not a text.
pub fn load_secret(file: &Path) -> Result<String, KeyError> {
    let key = check(
        &read(file, Mode::Private)?,
        KeySource::File(file.to_owned()),
    )?;
    Ok(key.secret.expose_secret().to_owned())
}

/// Whether it matters who can read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Its owner alone.
    Private,
    /// Whoever systemd lets into the credentials directory.
    Any,
}

fn read(file: &Path, mode: Mode) -> Result<Vec<u8>, KeyError> {
    let unreadable = |source| KeyError::Unreadable {
        file: file.to_owned(),
        source,
    };
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    // Of the open file, so that nobody can exchange it in between.
    let bits = opened.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode == Mode::Private && bits & 0o077 != 0 {
        return Err(KeyError::Exposed {
            file: file.to_owned(),
            mode: bits,
        });
    }
    let mut bytes = Vec::new();
    opened
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// The key in what was read, without the white space around it.
fn check(bytes: &[u8], from: KeySource) -> Result<ApiKey, KeyError> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        return Err(KeyError::Empty { from });
    }
    match std::str::from_utf8(trimmed) {
        Ok(key)
            if trimmed.iter().all(u8::is_ascii_graphic) && trimmed.len() as u64 <= MAX_BYTES =>
        {
            Ok(ApiKey {
                secret: SecretString::from(key),
                source: from,
            })
        }
        Ok(_) | Err(_) => Err(KeyError::NotAKey { from }),
    }
}

impl ApiKey {
    /// Whether this is the same key as another, wherever they were found.
    pub fn is_same(&self, other: &ApiKey) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::ffi::OsString;

    use super::*;

    const KEY: &str = "key_0123456789abcdef";

    fn file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn runway(file: Option<PathBuf>) -> Runway {
        Runway {
            api_key_file: file,
            ..Runway::default()
        }
    }

    fn find(file: Option<PathBuf>, variables: &[(&str, &str)]) -> Result<ApiKey, KeyError> {
        find_key_in(&runway(file), &|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_first_place_that_has_a_key_counts() {
        let folder = tempfile::tempdir().unwrap();
        let private = file(folder.path(), "private", " key_file\n", 0o600);
        file(folder.path(), "runway-api-key", "key_credential\n", 0o440);
        let credentials = folder.path().to_str().unwrap();
        let all = [
            ("CREDENTIALS_DIRECTORY", credentials),
            ("RUNWAYML_API_SECRET", "key_secret"),
            ("RUNWAY_API_KEY", "key_guide"),
        ];
        let found = |file, variables: &[(&str, &str)]| {
            let key = find(file, variables).unwrap();
            key.secret.expose_secret().to_owned()
        };
        assert_eq!(found(Some(private), &all), "key_file");
        assert_eq!(found(None, &all), "key_credential");
        assert_eq!(found(None, &all[1..]), "key_secret");
        assert_eq!(found(None, &all[2..]), "key_guide");
        assert_eq!(
            found(None, &[("RUNWAYML_API_SECRET", ""), all[2]]),
            "key_guide"
        );
        assert_eq!(
            found(None, &[("CREDENTIALS_DIRECTORY", "/nowhere"), all[2]]),
            "key_guide"
        );
        assert!(matches!(find(None, &[]), Err(KeyError::Missing)));
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let path = file(folder.path(), "key", KEY, mode);
            let error = find(Some(path.clone()), &[]).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }), "{mode:o}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("chmod 600 {}", path.display())),
                "{error}"
            );
        }
        for mode in [0o600, 0o400] {
            assert!(
                find(Some(file(folder.path(), "key", KEY, mode)), &[]).is_ok(),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_key_file_that_is_named_and_not_there_is_an_error_and_no_reason_to_look_elsewhere() {
        let error = find(Some("/nowhere/key".into()), &[("RUNWAY_API_KEY", KEY)]).unwrap_err();
        assert!(matches!(error, KeyError::Unreadable { .. }));
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            " \n",
            "key_a\nkey_b",
            "key a",
            "schlüssel",
            "Bearer key_a",
            &"k".repeat(5000),
        ] {
            let error = find(Some(file(folder.path(), "key", text, 0o600)), &[]).unwrap_err();
            assert!(
                matches!(error, KeyError::Empty { .. } | KeyError::NotAKey { .. }),
                "{text:?}"
            );
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(
                    !shown.contains("key_a") && !shown.contains("schl"),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn the_pages_token_is_long_and_private_or_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let token = "0123456789abcdef0123456789abcdef";
        let good = file(folder.path(), "good", &format!("{token}\n"), 0o600);
        assert_eq!(
            load_web_token(&good, &|_| None).unwrap().expose_secret(),
            token
        );
        let shared = file(folder.path(), "shared", token, 0o640);
        assert!(matches!(
            load_web_token(&shared, &|_| None),
            Err(TokenError::Exposed { mode: 0o640, .. })
        ));
        let credentials = OsString::from(folder.path());
        assert!(load_web_token(&shared, &|_| Some(credentials.clone())).is_ok());
        for text in ["", "secret", "0123456789 0123456789 0123456789"] {
            let path = file(folder.path(), "weak", text, 0o600);
            let error = load_web_token(&path, &|_| None).unwrap_err();
            assert!(matches!(error, TokenError::NotAToken { .. }), "{text:?}");
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        assert!(matches!(
            load_web_token(Path::new("/nowhere/token"), &|_| None),
            Err(TokenError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_key_is_in_no_debug_output() {
        let key = find(None, &[("RUNWAYML_API_SECRET", KEY)]).unwrap();
        assert!(!format!("{key:?}").contains(KEY));
        assert!(key.is_same(&find(None, &[("RUNWAY_API_KEY", KEY)]).unwrap()));
    }
}
