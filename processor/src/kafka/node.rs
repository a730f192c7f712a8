//! Who this process is, across restarts: its name in the group and at the transaction coordinator.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::backend::BackendError;

/// One shard of this machine, for as long as it lives.
pub(super) struct Node {
    /// The same after a restart with the same state directory, so that a restart fences its predecessor's transaction
    /// at once and keeps its partitions.
    pub name: String,
    /// Where the local stores lie.
    pub directory: PathBuf,
    /// Held as long as the node lives: two processes under one name would fence each other for ever.
    _lock: File,
}

impl Node {
    pub(super) fn new(state_dir: &Path, application_id: &str, shard: u32) -> Result<Node, BackendError> {
        let directory = state_dir.join(application_id);
        let failed = |path: &Path, source: io::Error| BackendError::Fatal {
            what: format!("the state directory can't be used: `{}`", path.display()),
            source: Some(source.into()),
        };
        fs::create_dir_all(&directory).map_err(|error| failed(&directory, error))?;
        let lock_path = directory.join(format!("shard-{shard}.lock"));
        let lock = File::create(&lock_path).map_err(|error| failed(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(BackendError::Fatal {
                    what: format!(
                        "another process uses the state directory `{}`; give this one a directory of its own",
                        directory.display()
                    ),
                    source: None,
                });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(&lock_path, error)),
        }
        let id_path = directory.join("node-id");
        let id = node_id(&id_path).map_err(|error| failed(&id_path, error))?;
        Ok(Node { name: format!("{id}-{shard}"), directory, _lock: lock })
    }
}

/// The id in the file; a new one when there is none yet. Shards of one process may start at the same time: the first
/// to link its file there wins.
fn node_id(path: &Path) -> io::Result<Uuid> {
    loop {
        match fs::read_to_string(path) {
            Ok(text) => {
                return Uuid::parse_str(text.trim())
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no node id; delete the file"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let id = Uuid::new_v4();
        let new = path.with_extension(id.to_string());
        fs::write(&new, id.to_string())?;
        let linked = fs::hard_link(&new, path);
        fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_is_alone() {
        let state = tempfile::tempdir().unwrap();
        let node = Node::new(state.path(), "app", 0).unwrap();
        let name = node.name.clone();
        let other_shard = Node::new(state.path(), "app", 1).unwrap();
        assert_ne!(other_shard.name, name);
        let second = Node::new(state.path(), "app", 0).err().expect("the lock is held");
        assert!(second.to_string().starts_with("another process uses the state directory"), "{second}");
        drop(node);
        assert_eq!(Node::new(state.path(), "app", 0).unwrap().name, name);
    }
}
