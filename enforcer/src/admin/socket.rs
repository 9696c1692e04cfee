//! The admin pages on a unix socket.
//!
//! INVARIANT: at no moment can another user open it, and its name always leads to a process that serves: the socket gets its
//! mode before it has a name, and takes the final name in one step, also from a process that ran before.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::files;
use crate::limits;

/// A listening unix socket with its name, which goes when it is dropped.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl AdminSocket {
    /// Listens under `path`. What is there already is replaced if it is a socket.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else of this name"));
            }
            _ => {}
        }
        // The file that the system makes for a socket has the socket's own mode.
        let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
        socket.set_permissions(Permissions::from_mode(0o600))?;
        let socket = Socket::from(OwnedFd::from(socket));
        let temporary = files::hidden_beside(path)?;
        socket.bind(&SockAddr::unix(&temporary)?)?;
        let named = socket.listen(i32::try_from(limits::ADMIN_CONNECTIONS_MAX).unwrap_or(i32::MAX)).and_then(|()| {
            let metadata = temporary.symlink_metadata()?;
            std::fs::rename(&temporary, path)?;
            Ok((metadata.dev(), metadata.ino()))
        });
        let inode = named.inspect_err(|_| drop(std::fs::remove_file(&temporary)))?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(OwnedFd::from(socket).into())?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A process that came after us may have taken the name.
        if self.path.symlink_metadata().is_ok_and(|found| (found.dev(), found.ino()) == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a38_only_the_own_user_can_open_it_and_a_successor_takes_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = AdminSocket::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let second = AdminSocket::open(&path).unwrap();
        drop(first);
        let (client, served) = tokio::join!(UnixStream::connect(&path), second.accept());
        assert!(client.is_ok() && served.is_ok());
        drop(second);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(&path, "mine").unwrap();
        assert!(AdminSocket::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
