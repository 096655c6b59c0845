//! Whether a source can be synced: asked of Confluence before anything is stored.

use kai_host::Connector;

use crate::error::Error;
use crate::source_file::Registration;

/// Asks the site whether the credential is good and the space is there.
///
/// # Errors
/// What is wrong with the source, or why the site cannot be asked.
pub async fn validate(connector: &Connector, registration: &Registration) -> Result<(), Error> {
    let session = connector.session(registration.source.clone())?;
    session.validate().await.map_err(Error::call)?;
    if let Some(scope) = &registration.scope_path {
        session.list_partitions(Some(scope.clone()), None).await.map_err(Error::call)?;
    }
    Ok(())
}
