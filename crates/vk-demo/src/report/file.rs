//! A file that a result goes to: whole and new, or as it was.
//!
//! What is written goes to a file beside it, which takes its name only when all of it is on the disk: a full disk, or an end in the
//! middle, leaves what was there. What is no plain file (a pipe, a terminal) is written as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file that can be written and has not been yet.
pub(crate) struct OpenFile {
    /// As the user wrote it.
    path: PathBuf,
    target: Target,
}

enum Target {
    /// A plain file of this path, with all links followed, or none yet.
    Plain(PathBuf),
    /// Anything else.
    Odd(File),
}

impl OpenFile {
    /// Checks that it can be written, and leaves everything as it is.
    pub(crate) fn open(path: PathBuf) -> Result<OpenFile, Failure> {
        let target = Target::of(&path).map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", path.display())))?;
        Ok(OpenFile { path, target })
    }

    /// Puts these bytes in place of what it holds.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.target {
            Target::Plain(path) => replace(path, bytes),
            Target::Odd(file) => file.write_all(bytes).and_then(|()| file.flush()),
        };
        written.map_err(|error| Failure::Output(format!("{}: {error}", self.path.display())))
    }
}

impl Target {
    fn of(path: &Path) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(there) => {
                // Who may not write it may not put another in its place either.
                let file = OpenOptions::new().write(true).open(path)?;
                if !there.is_file() {
                    return Ok(Target::Odd(file));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let path = resolved(path)?;
        // Whether a file can be made beside it.
        let (beside, _) = beside(&path)?;
        fs::remove_file(beside)?;
        Ok(Target::Plain(path))
    }
}

/// Refuses two options that name one file: one result would be gone.
pub(crate) fn distinct(named: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (option, path) in named.iter().filter_map(|(option, path)| Some((*option, (*path)?))) {
        // Many may write to a terminal or to nowhere; a file that cannot be is refused when it is opened.
        let is_odd = fs::metadata(path).is_ok_and(|there| !there.is_file());
        let Ok(file) = resolved(path) else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == file && !is_odd) {
            return Err(Failure::Usage(format!("{other} and {option} name one file, {}", path.display())));
        }
        seen.push((option, file));
    }
    Ok(())
}

/// The path of a file that may not be there yet, by the one name that it has.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    // A link that leads nowhere yet.
    if let Ok(to) = fs::read_link(path) {
        return resolved(&path.parent().unwrap_or(Path::new("")).join(to));
    }
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(folder.canonicalize()?.join(name))
}

/// A new file in the same folder.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0;
    loop {
        let beside = path.with_file_name(format!(".{name}.{}.{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Ok(file) => return Ok((beside, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Writes a file beside it, and renames that; nothing is left of one that could not be written.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (beside, mut file) = beside(path)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        // A disk that is full may say so only now.
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // If it cannot be removed either there is nobody to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn req_82_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut open = OpenFile::open(path.clone()).unwrap();
        assert!(names(folder.path()).is_empty(), "nothing is touched before there is a result");
        open.replace(b"first, and longer").unwrap();
        let before = File::open(&path).unwrap();
        open.replace(b"second").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"second".to_vec(), vec!["out".to_owned()]));
        let mut old = String::new();
        (&before).read_to_string(&mut old).unwrap();
        assert_eq!(old, "first, and longer", "whoever has the old one open keeps it whole");
    }

    #[cfg(unix)]
    #[test]
    fn req_82_a_link_stays_and_what_it_leads_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        OpenFile::open(link.clone()).unwrap().replace(b"text").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"text");
        let refused = distinct(&[("-o", Some(&link)), ("--svg", Some(&file))]);
        assert!(matches!(refused, Err(Failure::Usage(why)) if why.starts_with("-o and --svg name one file")));
    }

    #[test]
    fn req_82_two_options_for_one_file_are_refused_before_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (one, same) = (folder.path().join("new"), folder.path().join(".").join("new"));
        assert!(distinct(&[("-o", Some(&one)), ("--svg", None), ("--png", Some(&same))]).is_err());
        assert!(distinct(&[("-o", Some(&one)), ("--svg", Some(&folder.path().join("other")))]).is_ok());
        #[cfg(unix)]
        assert!(distinct(&[("-o", Some(Path::new("/dev/null"))), ("--svg", Some(Path::new("/dev/null")))]).is_ok());
    }
}
