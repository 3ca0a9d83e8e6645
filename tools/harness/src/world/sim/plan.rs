//! Which states of which cuts are tried: all of a cut where there are few, drawn ones where there
//! are many.

use kogia::io::sim::Keep;

use crate::random::Random;

/// A cut by its place, and what is left.
pub type Planned = (usize, Keep);

/// About `wanted` states of cuts that have so many each, spread over all cuts.
pub fn plan(states: &[u128], wanted: u64, seed: u64) -> Vec<Planned> {
    if wanted < states.len() as u64 {
        return some_cuts(states, wanted, seed);
    }
    let quota = quota(states, wanted);
    let cuts = states.iter().enumerate();
    cuts.flat_map(|(cut, &there_are)| of_cut(there_are, quota).map(move |keep| (cut, keep)))
        .collect()
}

/// One state each of so many cuts, drawn.
fn some_cuts(states: &[u128], wanted: u64, seed: u64) -> Vec<Planned> {
    let mut random = Random::of(seed, "cuts");
    let count = states.len() as u64;
    let first = random.below(count.max(1));
    let cuts = (0..wanted).map(|n| ((first + n * count / wanted) % count) as usize);
    cuts.map(|cut| {
        let keep = match random.below(6) {
            0 => Keep::Nothing,
            1 => Keep::Everything,
            _ if states[cut] <= 64 => Keep::Nth(u128::from(random.below(states[cut] as u64))),
            _ => Keep::Random(random.next() >> 32),
        };
        (cut, keep)
    })
    .collect()
}

/// The states that each cut is given, where it has as many, so that all together are about as
/// many as wanted.
fn quota(states: &[u128], wanted: u64) -> u64 {
    let sum = |quota: u64| states.iter().map(|&n| n.min(u128::from(quota)) as u64).sum::<u64>();
    let (mut low, mut high) = (1, wanted.max(1));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if sum(middle) <= wanted {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

fn of_cut(there_are: u128, quota: u64) -> impl Iterator<Item = Keep> {
    let takes_all = there_are <= u128::from(quota);
    let count = if takes_all { there_are as u64 } else { quota };
    (0..count).map(move |n| match n {
        _ if takes_all => Keep::Nth(u128::from(n)),
        // The least and the most first: with a quota of one, what was synced and nothing else.
        0 => Keep::Nothing,
        1 => Keep::Everything,
        n => Keep::Random(n),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_with_few_states_is_tried_in_all_of_them() {
        let planned = plan(&[1, 4, 1 << 90], 12, 1);
        let of = |cut| planned.iter().filter(|p| p.0 == cut).map(|p| p.1).collect::<Vec<_>>();
        assert_eq!(of(0), [Keep::Nth(0)]);
        assert_eq!(of(1), [Keep::Nth(0), Keep::Nth(1), Keep::Nth(2), Keep::Nth(3)]);
        assert_eq!(of(2)[..3], [Keep::Nothing, Keep::Everything, Keep::Random(2)]);
        assert_eq!(planned.len(), 12);
    }

    #[test]
    fn with_less_states_than_cuts_the_cuts_are_spread() {
        let planned = plan(&[1000; 90], 30, 7);
        let mut cuts: Vec<usize> = planned.iter().map(|p| p.0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        assert_eq!(cuts.len(), 30);
    }
}
