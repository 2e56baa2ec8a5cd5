//! Device errors: each is reported once, by the call that caused it.
//!
//! A device of the caller's keeps its own handlers: errors of foveate's calls are caught in error scopes around them. A device
//! of foveate's own has a handler, which is cheaper. Natively both know an error when the call that caused it returns; in a
//! browser it comes later, with the next download at the latest: every download that was under way then fails.

use super::{Gpu, Ledger, lock};
use crate::error::{Error, Result};
use std::future::Future;
use std::sync::Arc;

/// The scopes around a call, the last one innermost.
type Scopes = [wgpu::ErrorScopeGuard; 3];

/// An error that a browser has not told yet.
#[cfg(target_arch = "wasm32")]
pub(super) type Pending = std::pin::Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

/// The device errors that have not been reported yet.
#[derive(Default)]
pub(super) struct Failures {
    /// The first one that was not reported yet.
    first: Option<Error>,
    /// The last one of all, and how many there were.
    last: Option<Error>,
    count: u64,
}

impl Ledger {
    pub(super) fn fail(&self, error: Error) {
        let mut failures = lock(&self.failures);
        failures.first.get_or_insert_with(|| error.clone());
        failures.last = Some(error);
        failures.count += 1;
    }

    /// Number of failures so far.
    pub(super) fn count(&self) -> u64 {
        lock(&self.failures).count
    }

    /// Fails if the device has failed since there were `before` failures, also if another call has reported that.
    pub(super) fn check_since(&self, before: u64) -> Result<()> {
        self.check()?;
        let failures = lock(&self.failures);
        match &failures.last {
            Some(error) if failures.count > before => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn caught(&self, error: wgpu::Error) {
        self.fail(match error {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { needs: 0, has: lock(&self.stats).bytes },
            other => Error::device(crate::error::one_line(&other.to_string())),
        });
    }

    /// The first failure since the last call of this; a lost device fails every time.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(error) = lock(&self.lost).clone() {
            return Err(error);
        }
        lock(&self.failures).first.take().map_or(Ok(()), Err)
    }
}

/// Has the handlers of foveate's own device report to `ledger`.
pub(super) fn handle(device: &wgpu::Device, ledger: &Arc<Ledger>) {
    let to = ledger.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| to.caught(error)));
    let to = ledger.clone();
    device.set_device_lost_callback(move |reason, message| {
        let error = Error::device(format!("the device was lost ({reason:?}): {}", crate::error::one_line(&message)));
        lock(&to.lost).get_or_insert(error);
    });
}

impl Gpu {
    /// Runs `work` and returns what it gives, or the failure of the device that it caused.
    pub(super) fn watched<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = self.scoped(work);
        // A failure of the device says more than what followed from it.
        self.ledger.check()?;
        done
    }

    /// Runs `work` and leaves failures of the device with the ledger.
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> T {
        let scopes: Option<Scopes> = (!self.own).then(|| {
            use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
            [OutOfMemory, Internal, Validation].map(|filter| self.device.push_error_scope(filter))
        });
        let done = work();
        for scope in scopes.into_iter().flatten().rev() {
            self.pop(scope);
        }
        done
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn pop(&self, scope: wgpu::ErrorScopeGuard) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Natively the future is ready.
        if let std::task::Poll::Ready(Some(error)) = std::pin::pin!(scope.pop()).poll(&mut context) {
            self.ledger.caught(error);
        }
    }

    #[cfg(target_arch = "wasm32")]
    fn pop(&self, scope: wgpu::ErrorScopeGuard) {
        lock(&self.pending).push(Box::pin(scope.pop()));
    }

    /// Waits until the browser has told the errors of all calls so far.
    #[cfg(target_arch = "wasm32")]
    pub(super) async fn told(&self) {
        let pending = std::mem::take(&mut *lock(&self.pending));
        for error in pending {
            if let Some(error) = error.await {
                self.ledger.caught(error);
            }
        }
    }
}
