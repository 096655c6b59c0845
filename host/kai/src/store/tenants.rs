//! Tenants, and the keys that let them and the administration in.

use rusqlite::{OptionalExtension as _, Row, params};

use super::sqlite::now;
use super::{SqliteStore, StoreError, search};
use crate::access_key::KeyDigest;

/// Whose the sources are that the command line registers.
pub const DEFAULT_TENANT: &str = "default";

/// Somebody whose sources nobody else sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Lower-case letters, digits and hyphens, 1 to 40 of them.
    pub id: String,
    /// For people.
    pub name: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// A key, without what opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Names the key where it is listed and revoked.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whose key it is; none: the administration's.
    pub tenant_id: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// What became of a key that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    /// It lets in from now on.
    Added,
    /// There is no such tenant.
    NoTenant,
}

/// Whether a tenant may be called so: its id is a part of names in the database.
#[must_use]
pub fn is_tenant_id(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(fine)
}

impl SqliteStore {
    /// All tenants, by id.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut statement =
            self.connection.prepare("SELECT id, name, created_at FROM tenants ORDER BY id")?;
        let tenants = statement.query_map([], |row| {
            Ok(Tenant { id: row.get(0)?, name: row.get(1)?, created_at: row.get(2)? })
        })?;
        Ok(tenants.collect::<Result<_, _>>()?)
    }

    /// Makes a tenant. None where there is one of this id, or none may be called so.
    pub fn add_tenant(&mut self, id: &str, name: &str) -> Result<Option<Tenant>, StoreError> {
        if !is_tenant_id(id) {
            return Ok(None);
        }
        let tenant = Tenant { id: id.to_owned(), name: name.to_owned(), created_at: now() };
        let added = self.connection.execute(
            "INSERT INTO tenants VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
            params![tenant.id, tenant.name, tenant.created_at],
        )?;
        Ok((added > 0).then_some(tenant))
    }

    /// Removes a tenant that has no sources any more, with its keys. Whether there was one.
    pub fn remove_tenant(&mut self, id: &str) -> Result<bool, StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM keys WHERE tenant_id = ?1", [id])?;
        transaction.execute("DELETE FROM removals WHERE tenant_id = ?1", [id])?;
        search::forget_tenant(&transaction, id)?;
        let removed = transaction.execute(
            "DELETE FROM tenants WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sources WHERE tenant_id = ?1)",
            [id],
        )?;
        if removed > 0 {
            transaction.commit()?;
        }
        Ok(removed > 0)
    }

    /// All keys, the oldest first; of one tenant where it is named.
    pub fn keys(&self, tenant_id: Option<&str>) -> Result<Vec<StoredKey>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT id, name, tenant_id, created_at FROM keys
             WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY created_at, id",
        )?;
        let keys = statement.query_map([tenant_id], stored_key)?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Lets a key in.
    pub fn add_key(
        &mut self,
        id: &str,
        name: &str,
        tenant_id: Option<&str>,
        digest: KeyDigest,
    ) -> Result<KeyAdded, StoreError> {
        let added = self.connection.execute(
            "INSERT INTO keys (id, name, tenant_id, digest, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?3 IS NULL OR EXISTS (SELECT 1 FROM tenants WHERE id = ?3)",
            params![id, name, tenant_id, digest, now()],
        )?;
        Ok(if added > 0 { KeyAdded::Added } else { KeyAdded::NoTenant })
    }

    /// Lets a key in no longer. Whether there was one.
    pub fn remove_key(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection.execute("DELETE FROM keys WHERE id = ?1", [id])? > 0)
    }

    /// The key with this digest.
    pub fn key_with(&self, digest: KeyDigest) -> Result<Option<StoredKey>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name, tenant_id, created_at FROM keys WHERE digest = ?1")?;
        Ok(statement.query_row([digest], stored_key).optional()?)
    }

    /// A random secret of this store, made when it is first asked for.
    pub fn service_secret(&mut self, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO service_secrets SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM service_secrets)",
            [candidate],
        )?;
        let secret = transaction.query_row("SELECT secret FROM service_secrets", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(secret)
    }
}

fn stored_key(row: &Row<'_>) -> rusqlite::Result<StoredKey> {
    Ok(StoredKey { id: row.get(0)?, name: row.get(1)?, tenant_id: row.get(2)?, created_at: row.get(3)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_key::AccessKey;

    #[test]
    fn a_key_lets_in_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        assert!(store.add_tenant("acme", "Acme").unwrap().is_some());
        let (ours, theirs) = (AccessKey::generate().unwrap(), AccessKey::generate().unwrap());
        assert_eq!(store.add_key("1", "ours", None, ours.digest()).unwrap(), KeyAdded::Added);
        assert_eq!(store.add_key("2", "theirs", Some("acme"), theirs.digest()).unwrap(), KeyAdded::Added);
        let nobody = AccessKey::generate().unwrap();
        assert_eq!(store.add_key("3", "x", Some("nobody"), nobody.digest()).unwrap(), KeyAdded::NoTenant);
        assert_eq!(store.key_with(ours.digest()).unwrap().unwrap().tenant_id, None);
        assert_eq!(store.key_with(theirs.digest()).unwrap().unwrap().tenant_id.as_deref(), Some("acme"));
        assert_eq!(store.key_with(nobody.digest()).unwrap(), None);
        assert_eq!(store.keys(Some("acme")).unwrap().len(), 1);
        assert!(store.remove_key("2").unwrap());
        assert!(!store.remove_key("2").unwrap());
        assert_eq!(store.key_with(theirs.digest()).unwrap(), None);
        assert_eq!(store.keys(None).unwrap().len(), 1);
    }

    #[test]
    fn a_tenant_has_one_id_and_goes_with_its_keys() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        assert!(store.add_tenant("acme", "Acme").unwrap().is_some());
        assert!(store.add_tenant("acme", "Other").unwrap().is_none());
        for id in ["", "Acme", "a b", "a\"; DROP TABLE keys", &"a".repeat(41)] {
            assert!(store.add_tenant(id, "x").unwrap().is_none(), "{id}");
        }
        let key = AccessKey::generate().unwrap();
        store.add_key("1", "k", Some("acme"), key.digest()).unwrap();
        assert!(store.remove_tenant("acme").unwrap());
        assert_eq!(store.key_with(key.digest()).unwrap(), None);
        assert!(!store.remove_tenant("acme").unwrap());
        let ids: Vec<_> = store.tenants().unwrap().into_iter().map(|tenant| tenant.id).collect();
        assert_eq!(ids, [DEFAULT_TENANT]);
    }

    #[test]
    fn the_secret_of_a_store_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.service_secret([1; 32]).unwrap(), [1; 32]);
        assert_eq!(store.service_secret([2; 32]).unwrap(), [1; 32]);
    }
}
