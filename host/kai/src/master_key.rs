//! The key that seals API tokens in a store: from the environment, else from a file that its owner alone may read.
//!
//! The file never lies in the data directory, so that whoever gets a copy of the store does not get the key with it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore as _;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, ExposeSecretMut as _, SecretBox, SecretString};
use sha2::{Digest as _, Sha256};

/// The environment variable that holds the key; it wins over the key file.
pub const KEY_VARIABLE: &str = "KAI_MASTER_KEY";

/// In the directory of the program's own configuration.
const KEY_FILE: &str = "master.key";

const KEY_BYTES: usize = 32;

/// Longest text that is taken for a key: one in hex has 64 characters.
const LONGEST_TEXT: u64 = 256;

/// What a key is known by in what it sealed.
pub(crate) type KeyId = [u8; 4];

/// Why there is no key. Never holds what was found in its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Something else stands where a key is looked for.
    #[error("{place} is not a key of 32 bytes in base64 or hex; make one with `openssl rand -base64 32`")]
    Invalid {
        /// The variable or the file.
        place: String,
    },
    /// Tokens were sealed, and the key is not here.
    #[error("the API tokens of this store are sealed and the key is not here: {KEY_VARIABLE} is not set and {file} does not exist; set or put back the one that they were sealed with. If it is lost, make a new one with `openssl rand -base64 32` and add the sources again", file = .file.display())]
    Missing {
        /// The key file.
        file: PathBuf,
    },
    /// Neither a variable nor a place for a file.
    #[error(
        "there is no place for a key file: set {KEY_VARIABLE} to what `openssl rand -base64 32` prints, or HOME"
    )]
    NoPlace,
    /// Others than its owner may read or write it.
    #[error("the key file {path} has mode {mode:03o}, so that others than its owner have access; run `chmod 600 {path}`", path = .path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A copy of the store would hold the key.
    #[error("the key file {path} lies in the data directory {data}, where whoever copies the store gets it; set {KEY_VARIABLE}, or name another directory with --data or XDG_CONFIG_HOME", path = .path.display(), data = .data.display())]
    InData {
        /// The key file.
        path: PathBuf,
        /// The data directory.
        data: PathBuf,
    },
    /// The system says no.
    #[error("the key file {path} cannot be used: {error}", path = .path.display())]
    File {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system has no randomness to make a key of.
    #[error("the system gives no random bytes: {0}")]
    Random(rand::rand_core::OsError),
}

/// A key that seals API tokens. Gone from memory when it is dropped.
#[derive(Debug)]
pub struct MasterKey {
    bytes: SecretBox<[u8; KEY_BYTES]>,
    place: String,
}

impl MasterKey {
    /// Reads a key of 32 bytes in base64 or hex; `place` is where it was found, for messages.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn parse(text: &str, place: String) -> Result<Self, KeyError> {
        match decode(text.trim()) {
            Some(bytes) => Ok(Self { bytes, place }),
            None => Err(KeyError::Invalid { place }),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.bytes.expose_secret()
    }

    /// Where it was found.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Says nothing of the key, and differs where keys differ.
    pub(crate) fn id(&self) -> KeyId {
        let digest = Sha256::new().chain_update("kai master key id\0").chain_update(self.bytes()).finalize();
        let mut id = KeyId::default();
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    }
}

/// Where the key is looked for.
#[derive(Debug, Clone, Default)]
pub struct KeyLocation {
    /// What [`KEY_VARIABLE`] holds, where it is set.
    pub variable: Option<SecretString>,
    /// The key file, where there is a place for one.
    pub file: Option<PathBuf>,
}

impl KeyLocation {
    /// The variable, and the key file in the program's directory of configuration.
    #[must_use]
    pub fn new(variable: Option<SecretString>, configuration: Option<PathBuf>) -> Self {
        Self { variable, file: configuration.map(|directory| directory.join(KEY_FILE)) }
    }

    /// The key that a store's tokens were sealed with.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(&self, data: &Path) -> Result<MasterKey, KeyError> {
        let file = match self.variable_or_file(data)? {
            Ok(key) => return Ok(key),
            Err(file) => file,
        };
        read(file)?.ok_or_else(|| KeyError::Missing { file: file.to_owned() })
    }

    /// The key for a store's first token; makes a key file where there is no key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read_or_make(&self, data: &Path) -> Result<MasterKey, KeyError> {
        let file = match self.variable_or_file(data)? {
            Ok(key) => return Ok(key),
            Err(file) => file,
        };
        if let Some(key) = read(file)? {
            return Ok(key);
        }
        make(file)?;
        read(file)?.ok_or_else(|| KeyError::Missing { file: file.to_owned() })
    }

    /// The key of the variable, else the file that may hold one.
    fn variable_or_file(&self, data: &Path) -> Result<Result<MasterKey, &Path>, KeyError> {
        if let Some(text) = &self.variable {
            return MasterKey::parse(text.expose_secret(), KEY_VARIABLE.to_owned()).map(Ok);
        }
        let file = self.file.as_deref().ok_or(KeyError::NoPlace)?;
        if resolved(file).starts_with(resolved(data)) {
            return Err(KeyError::InData { path: file.to_owned(), data: data.to_owned() });
        }
        Ok(Err(file))
    }
}

/// Without links, as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return path.strip_prefix(ancestor).map_or_else(|_| found.clone(), |rest| found.join(rest));
        }
    }
    path
}

/// The key of a file; none where there is no file.
fn read(path: &Path) -> Result<Option<MasterKey>, KeyError> {
    let unusable = |error| KeyError::File { path: path.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unusable)?,
    };
    // Of the file that is open, whatever the path leads to by now.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(unusable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
    }
    let place = format!("the key file {}", path.display());
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_TEXT as usize));
    file.take(LONGEST_TEXT).read_to_end(&mut text).map_err(unusable)?;
    match std::str::from_utf8(&text) {
        Ok(text) => MasterKey::parse(text, place).map(Some),
        Err(_) => Err(KeyError::Invalid { place }),
    }
}

/// Makes a key file at once and wholly; one that another process made meanwhile stays.
fn make(path: &Path) -> Result<(), KeyError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    rand::rngs::OsRng.try_fill_bytes(bytes.as_mut()).map_err(KeyError::Random)?;
    let text = Zeroizing::new(STANDARD.encode(&bytes) + "\n");
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(directory)?;
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
            // A token that outlives the only key to it would be lost.
            Ok(_) => fs::File::open(directory)?.sync_all(),
        }
    };
    write().map_err(|error| KeyError::File { path: path.to_owned(), error })
}

fn decode(text: &str) -> Option<SecretBox<[u8; KEY_BYTES]>> {
    let mut bytes = SecretBox::new(Box::new([0; KEY_BYTES]));
    let key = bytes.expose_secret_mut();
    if text.len() == 2 * KEY_BYTES {
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            for digit in pair {
                *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            }
        }
    } else {
        let mut decoded = Zeroizing::new([0; LONGEST_TEXT as usize]);
        let length = STANDARD.decode_slice(text, decoded.as_mut()).ok()?;
        key.copy_from_slice(decoded.get(..length).filter(|decoded| decoded.len() == KEY_BYTES)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn parse(text: &str) -> Result<MasterKey, KeyError> {
        MasterKey::parse(text, KEY_VARIABLE.to_owned())
    }

    fn at(file: &Path) -> KeyLocation {
        KeyLocation { variable: None, file: Some(file.to_owned()) }
    }

    #[test]
    fn a_key_is_the_same_in_base64_and_in_hex() {
        let key = parse(HEX).unwrap();
        assert_eq!(key.bytes()[31], 31);
        assert_eq!(parse(&format!(" {BASE64}\n")).unwrap().bytes(), key.bytes());
        assert_ne!(parse(&HEX.replace("1F", "1E")).unwrap().id(), key.id());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_way_to_make_one_and_not_shown() {
        for text in [
            "",
            "s3cret",
            &HEX[1..],
            &format!("{HEX}00"),
            &BASE64[4..],
            &HEX.replace('0', "x"),
            &"é".repeat(32),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(
                message.contains(KEY_VARIABLE) && message.contains("openssl rand -base64 32"),
                "{message}"
            );
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }

    #[test]
    fn a_key_is_not_shown_by_debug_output() {
        let shown = format!("{:?}", parse(HEX).unwrap());
        assert!(!shown.contains("31") && !shown.contains("1F"), "{shown}");
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kai/master.key");
        let data = directory.path().join("data");
        let missing = at(&file).read(&data).unwrap_err();
        assert!(missing.to_string().contains("kai/master.key does not exist"), "{missing}");
        assert!(!file.exists());
        let made = at(&file).read_or_make(&data).unwrap();
        assert_ne!(made.bytes(), &[0; KEY_BYTES]);
        assert_eq!(at(&file).read_or_make(&data).unwrap().bytes(), made.bytes());
        assert_eq!(at(&file).read(&data).unwrap().bytes(), made.bytes());
        // As where two processes find none at the same time.
        make(&file).unwrap();
        assert_eq!(at(&file).read(&data).unwrap().bytes(), made.bytes());
        let variable = Some(BASE64.into());
        let given = KeyLocation { variable, ..at(&file) }.read_or_make(&data).unwrap();
        assert_eq!(given.bytes(), parse(HEX).unwrap().bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
            for exposed in [0o640, 0o604, 0o602] {
                fs::set_permissions(&file, fs::Permissions::from_mode(exposed)).unwrap();
                let refused = at(&file).read_or_make(&data).unwrap_err();
                assert!(refused.to_string().contains("chmod 600"), "{refused}");
            }
        }
    }

    #[test]
    fn a_key_file_in_the_data_directory_is_refused_whatever_leads_there() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let refused = |file: &Path, data: &Path| {
            let result = at(file).read_or_make(data);
            assert!(matches!(result, Err(KeyError::InData { .. })), "{result:?}");
        };
        refused(&data.join("config/kai/master.key"), &data);
        assert!(!data.exists());
        fs::create_dir(&data).unwrap();
        refused(&data.join("master.key"), &directory.path().join("data/../data"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&data, directory.path().join("link")).unwrap();
            refused(&directory.path().join("link/kai/master.key"), &data);
            refused(&data.join("kai/master.key"), &directory.path().join("link"));
        }
        at(&directory.path().join("data-beside/master.key")).read_or_make(&data).unwrap();
    }
}
