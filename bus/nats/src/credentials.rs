//! How we log in to a NATS server: what stands in a file that nobody else may read.
//!
//! **Invariant:** a secret is in no error text and in no `Debug`.

use async_nats::ConnectOptions;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// The most bytes of the file.
const MOST: u64 = 64 << 10;
/// What the file may hold.
const RIGHT: &str = "credentials of NATS (.creds), the seed of a user's nkey (SU…), \
                     token = …, or user = … and password = …, each on a line";

/// What to log in with.
#[derive(Clone, Default)]
pub enum Login {
    /// Nothing.
    #[default]
    Nobody,
    /// A token.
    Token(String),
    /// A user and his password.
    Password(String, String),
    /// The seed of an nkey.
    Seed(String),
    /// A user's JWT and the seed of his nkey, as NATS' tools write them.
    Credentials(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::Nobody => "Nobody",
            Login::Token(_) => "Token",
            Login::Password(..) => "Password",
            Login::Seed(_) => "Seed",
            Login::Credentials(_) => "Credentials",
        })
    }
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It cannot be read.
    #[error("read the NATS credentials in `{file}`")]
    Read {
        /// The file.
        file: String,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// Others may read it.
    #[error("the NATS credentials in `{file}` have mode {mode:o}: others may read them; chmod 600 {file}")]
    Mode {
        /// The file.
        file: String,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("`{file}` holds no NATS credentials: {RIGHT}")]
    Content {
        /// The file.
        file: String,
    },
}

impl Login {
    /// Reads a file.
    ///
    /// # Errors
    /// Others may read it, or it holds nothing to log in with.
    pub fn read(path: &Path) -> Result<Login, LoginError> {
        let file = path.display().to_string();
        let unreadable = |why| LoginError::Read { file: file.clone(), why };
        let mut opened = File::open(path).map_err(unreadable)?;
        let mode = opened.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(LoginError::Mode { file, mode });
        }
        let mut text = String::new();
        opened.by_ref().take(MOST).read_to_string(&mut text).map_err(unreadable)?;
        Login::of(&text).ok_or(LoginError::Content { file })
    }

    fn of(text: &str) -> Option<Login> {
        if text.contains("-----BEGIN NATS USER JWT-----") {
            let taken = ConnectOptions::new().credentials(text);
            return taken.is_ok().then(|| Login::Credentials(text.to_string()));
        }
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let value = |line: &str, name: &str| {
            let (key, value) = line.split_once('=')?;
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            (key.trim() == name && !bare.is_empty()).then(|| bare.to_string())
        };
        match lines[..] {
            [seed] if seed.starts_with("SU") && seed.bytes().all(|c| c.is_ascii_alphanumeric()) => {
                Some(Login::Seed(seed.to_string()))
            }
            [token] => value(token, "token").map(Login::Token),
            [user, password] => Some(Login::Password(value(user, "user")?, value(password, "password")?)),
            _ => None,
        }
    }

    /// The options of a connection, with these.
    pub(crate) fn put(&self, options: ConnectOptions) -> io::Result<ConnectOptions> {
        Ok(match self.clone() {
            Login::Nobody => options,
            Login::Token(token) => options.token(token),
            Login::Password(user, password) => options.user_and_password(user, password),
            Login::Seed(seed) => options.nkey(seed),
            Login::Credentials(text) => return options.credentials(&text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::OpenOptionsExt};

    fn put(mode: u32, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nats");
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (folder, path)
    }

    #[test]
    fn each_form_is_known_by_what_is_in_it() {
        let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
        for (text, form) in [
            ("token = \"s3cret\"\n", "Token"),
            ("# ours\nuser = bob\npassword = s3cret\n", "Password"),
            (&format!("{seed}\n"), "Seed"),
        ] {
            let (_folder, path) = put(0o600, text);
            let login = Login::read(&path).unwrap();
            assert_eq!(format!("{login:?}"), form, "and nothing of the secret");
            assert!(login.put(ConnectOptions::new()).is_ok());
        }
    }

    #[test]
    fn what_others_may_read_and_what_is_none_is_refused_without_a_word_of_it() {
        for (mode, text, word) in [
            (0o644, "token = s3cret", "chmod 600"),
            (0o600, "password = s3cret", "holds no NATS credentials"),
            (0o600, "-----BEGIN NATS USER JWT-----\ns3cret", "holds no NATS credentials"),
            (0o600, "", "holds no NATS credentials"),
        ] {
            let (_folder, path) = put(mode, text);
            let error = Login::read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
        }
        let error = Login::read(Path::new("/nowhere/nats")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/nats"), "{error}");
    }
}
