//! Random operations, against a map in memory that does the same by definition.
//!
//! `KOGIA_TEST_ROUNDS` runs so many times as many cases, and `KOGIA_TEST_SEED` others. A case that
//! fails is made as small as it goes, printed, and tried first from then on.

mod contents;
mod look;
mod machine;
mod operation;
mod session;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};

use machine::Media;

fn run_cases(cases: u32, media: Media, failures: &'static str) {
    let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = variable("KOGIA_TEST_ROUNDS").unwrap_or(1);
    let config = Config {
        cases: cases * u32::try_from(rounds).unwrap(),
        rng_seed: RngSeed::Fixed(variable("KOGIA_TEST_SEED").unwrap_or(20_261_120)),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(failures))),
        max_shrink_iters: 50_000,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&operation::cases(media), |case| {
        session::run(media, &case);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn random_operations_do_on_a_simulated_machine_what_a_map_does_whatever_cuts_its_power() {
    run_cases(60, Media::Simulated, "tests/it/model/simulated.failures");
}

#[test]
fn random_operations_do_on_real_disks_what_a_map_does() {
    run_cases(20, Media::Real, "tests/it/model/real.failures");
}
