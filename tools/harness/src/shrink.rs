//! Makes a failing list smaller.

use std::time::{Duration, Instant};

/// Runs of the list that are tried at most.
const MOST_TRIES: usize = 60;
/// No run begins later than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leaves out as much of a list as it goes on failing without; gives what is left, and how that
/// fails. `fails` gives how a list fails, or nothing where it does not.
pub fn shrink<T: Clone, F>(
    list: Vec<T>,
    failing: F,
    mut fails: impl FnMut(&[T]) -> Option<F>,
) -> (Vec<T>, F) {
    let (mut list, mut failing) = (list, failing);
    let (mut tries, started) = (0, Instant::now());
    let is_over = |tries| tries >= MOST_TRIES || started.elapsed() >= PATIENCE;
    let mut size = list.len().div_ceil(2).max(1);
    loop {
        let before = list.len();
        let mut at = 0;
        while at < list.len() && !is_over(tries) {
            let end = (at + size).min(list.len());
            let fewer: Vec<T> = [&list[..at], &list[end..]].concat();
            tries += 1;
            match fails(&fewer) {
                Some(how) => (list, failing) = (fewer, how),
                None => at = end,
            }
        }
        if is_over(tries) || size == 1 && list.len() == before {
            return (list, failing);
        }
        size = if list.len() == before { size.div_ceil(2) } else { size.min(list.len()).max(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_all_else_goes() {
        let needs = |list: &[u32]| (list.contains(&3) && list.contains(&17)).then_some(list.len());
        assert_eq!(shrink((0..20).collect(), 20, needs), (vec![3, 17], 2));
        let always = |list: &[u32]| Some(list.len());
        assert_eq!(shrink(vec![1, 2], 2, always), (Vec::new(), 0));
    }
}
