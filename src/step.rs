//! Steps: the moments between which a crash makes a difference.
//!
//! Each is a [`tracing`] event with a name of its own and the target [`kogia::step`], so that
//! whoever listens can end the process, or have a look, in the middle of anything the library does;
//! `kogia-crash` kills at each of them. Where nobody listens, a step costs a load and a comparison;
//! on the way of a put there is one a commit group, and none a record.
//!
//! [`kogia::step`]: step

/// Says that a step was taken; `docs/steps.md` has them all.
macro_rules! step {
    ($name:literal) => {
        tracing::event!(name: $name, target: "kogia::step", tracing::Level::TRACE, {})
    };
}
