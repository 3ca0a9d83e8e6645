//! What whoever runs the server does with it while it runs. Knows nothing of HTTP.
//!
//! - [`jobs`]: long work in the background, with progress, which can be cancelled; [`work`] is what
//!   there is to do, [`backup`] and [`moving`] have stories of their own.
//! - [`disks`]: finding, adding and keeping disks; all partitions lie on all of them.
//! - [`told`]: what the partitions hold; [`browse`]: what the buckets hold; [`recent`]: what went wrong.

pub mod backup;
pub mod browse;
pub mod disks;
pub mod fault;
pub mod jobs;
pub mod moving;
pub mod recent;
pub mod told;
pub mod work;

pub use fault::{Fault, FaultKind};
pub use jobs::Jobs;
pub use recent::Recent;
