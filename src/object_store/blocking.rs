//! The store's calls block; here they leave the runtime's threads.

use object_store::Result;
use tokio::runtime::Handle;

use super::error::generic;

/// Runs what blocks on a thread that may, or here where there is no runtime. Once begun it is carried
/// out, also where nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let Ok(runtime) = Handle::try_current() else { return work() };
    match runtime.spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(generic(error)),
        },
    }
}

/// Drops something whose drop blocks. Where the runtime is going down that happens here.
pub(super) fn drop_elsewhere(inner: impl Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(inner))),
        Err(_) => drop(inner),
    }
}
