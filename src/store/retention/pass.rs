//! A pass: finds what has to go, and deletes it, a step at a time.
//!
//! It holds no lock from one step to the next, opens RocksDB's iterators anew for each page, and
//! takes a few MiB of memory however much there is. Where it is given up, what it has deleted is
//! deleted, and the rest is found again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::area::{Area, Before};
use super::oldest::{Aged, Oldest};
use super::{RetentionRule, Rules};
use crate::disk::{Owner, Proposal};
use crate::error::Result;
use crate::format::Seq;
use crate::format::entry::Entry;
use crate::format::record::{Record, Space};
use crate::options::{OnProgress, Phase, Progress};
use crate::store::gate::Pass as GatePass;
use crate::store::{Moment, Shared};

/// Rows that are looked at in a step.
const ROWS_A_STEP: usize = 1024;
/// Objects that are deleted in one append: writers of keys that share their gates wait for it.
const DELETES_AN_APPEND: usize = 256;
/// Bytes of the keys that a step may delete, about.
const KEYS_A_STEP_BYTES: usize = 1 << 20;
/// Memory for the oldest objects of a walk.
const OLDEST_BYTES: usize = 4 << 20;
/// Of a limit, this part is made room, so that not each put after it needs a walk.
const ROOM_PART: u64 = 50;
/// After a walk it rests for so many times as long as the walk took, so that walking takes a
/// twentieth of one core's time at most.
const REST_FACTOR: u32 = 20;

/// How to delete what has expired.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let only_count = kogia::ExpireOptions { dry_run: true, ..Default::default() };
/// assert_eq!(store.expire_with(&only_count)?.objects, 0);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Default)]
pub struct ExpireOptions {
    /// Whether to delete nothing, and only say what would go; default `false`. Looks at everything.
    pub dry_run: bool,
    /// Rules that apply to this call alone, beside those in force.
    pub rules: Vec<RetentionRule>,
    /// Called now and then, with the bytes of the objects that were looked at.
    pub on_progress: Option<Box<OnProgress>>,
}

impl fmt::Debug for ExpireOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &mut f.debug_struct("ExpireOptions");
        options.field("dry_run", &self.dry_run).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What was deleted, or would have been.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let over = kogia::PutOptions { expires_ms: Some(1), ..Default::default() };
/// store.put_with("key", "value", &over)?;
/// let report: kogia::ExpireReport = store.expire()?;
/// assert_eq!((report.objects, report.bytes), (1, 5));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ExpireReport {
    /// Objects that were deleted.
    pub objects: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Objects that were looked at, once for each rule: none where it is known that nothing has to
    /// go.
    pub examined: u64,
}

/// What there is to be gone over, and how far that has come.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The rules in force, and with those for this pass alone.
    in_force: Arc<Rules>,
    rules: Arc<Rules>,
    only_here: Vec<RetentionRule>,
    /// Numbers of the areas that come after this walk.
    areas: VecDeque<usize>,
    walk: Option<Walk>,
    report: ExpireReport,
    examined_bytes: u64,
    /// In a dry run, what is counted already.
    counted: Option<Vec<Counted>>,
}

/// All of an area up to an age.
#[derive(Debug)]
struct Counted {
    area: Arc<Area>,
    up_to: (u64, Seq),
}

/// A walk over the objects of an area.
#[derive(Debug)]
struct Walk {
    area: Arc<Area>,
    moment: Moment,
    /// None in a dry run, and when the walk has come to its end.
    before: Option<Before>,
    started: Instant,
    /// Where the next step begins.
    from: Vec<u8>,
    /// How many bytes may stay, and how many do where there are more.
    limits: Option<(u64, u64)>,
    earliest_ms: u64,
    total_bytes: u64,
    oldest: Oldest,
    /// When all rows were seen: what is over the limit, the oldest first, and whether that is all.
    surplus: Option<(VecDeque<Aged>, bool)>,
}

/// What comes after a step.
enum Next {
    Step,
    /// The same walk again: not all of the surplus fitted in memory.
    Again,
    End,
    /// The rules have changed.
    Restart,
}

impl Walk {
    fn new(area: Arc<Area>, moment: Moment, before: Option<Before>) -> Self {
        Walk {
            limits: area.max_bytes.map(|most| (most, most - most / ROOM_PART)),
            from: area.prefix.clone(),
            area,
            moment,
            before,
            started: Instant::now(),
            earliest_ms: u64::MAX,
            total_bytes: 0,
            oldest: Oldest::new(OLDEST_BYTES),
            surplus: None,
        }
    }

    /// Takes account of an object that has not expired.
    fn pass_by(&mut self, key: &[u8], entry: &Entry<'_>) {
        let expires_ms = self.area.expires_ms(&entry.meta).unwrap_or(u64::MAX);
        self.earliest_ms = self.earliest_ms.min(expires_ms);
        self.total_bytes += entry.meta.len;
        if self.limits.is_some() {
            self.oldest.offer(entry.meta.created_ms, entry.seq, entry.meta.len, key);
        }
    }

    /// All rows were seen: what is over the limit goes, if anything is.
    fn find_surplus(&mut self) -> Next {
        let Some((_, stay)) = self.limits.filter(|(most, _)| self.total_bytes > *most) else {
            return Next::End;
        };
        let oldest = std::mem::replace(&mut self.oldest, Oldest::new(0));
        let (surplus, is_all) = oldest.take(self.total_bytes - stay);
        self.surplus = Some((surplus.into(), is_all));
        Next::Step
    }

    /// Tells the area what was found; `interval` is the least that it rests.
    fn end(&mut self, interval: Duration) {
        if let Some(before) = self.before.take() {
            self.area.end(before, self.earliest_ms, self.total_bytes);
            let rest = interval.max(self.started.elapsed().saturating_mul(REST_FACTOR));
            self.area.rest(rest);
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.area.give_up(before);
            self.area.rest_after_failure(self.started.elapsed().saturating_mul(REST_FACTOR));
        }
    }
}

impl Pass {
    /// A pass over the areas of which `is_due` says so; in a dry run nothing is deleted.
    fn over(
        shared: &Shared,
        only_here: &[RetentionRule],
        is_due: impl Fn(&Area) -> bool,
        dry_run: bool,
    ) -> Self {
        let in_force = shared.retention.rules();
        let rules = in_force.with(only_here);
        let numbers = 0..rules.areas.len();
        Pass {
            areas: numbers.filter(|number| is_due(&rules.areas[*number])).collect(),
            in_force,
            rules,
            only_here: only_here.to_vec(),
            walk: None,
            report: ExpireReport::default(),
            examined_bytes: 0,
            counted: dry_run.then(Vec::new),
        }
    }

    /// A pass for the housekeeper, if one is due.
    pub(crate) fn if_due(shared: &Shared) -> Option<Self> {
        let now_ms = shared.now_ms();
        let pass = Self::over(shared, &[], |area| area.is_due_again(now_ms), false);
        (!pass.areas.is_empty() && shared.check_poison().is_ok()).then_some(pass)
    }

    /// Value bytes that it has deleted so far.
    pub(crate) fn deleted_bytes(&self) -> u64 {
        self.report.bytes
    }

    /// Goes on; whether there may be more to do.
    pub(crate) fn step(&mut self, shared: &Shared) -> Result<bool> {
        let Some(mut walk) = self.walk.take().or_else(|| self.next_walk(shared)) else {
            return Ok(false);
        };
        // After an error the walk is dropped, which tells its area that it was given up.
        let next = match walk.surplus {
            None => self.walk_on(shared, &mut walk)?,
            Some(_) => self.delete_surplus(shared, &mut walk)?,
        };
        let interval = shared.options.checkpoint_interval;
        match next {
            Next::Step => self.walk = Some(walk),
            Next::End => walk.end(interval),
            Next::Again => {
                let stay = walk.limits.map(|(_, stay)| (stay, stay));
                walk.end(interval);
                let mut again = self.walk_over(shared, walk.area.clone());
                again.limits = stay;
                self.walk = Some(again);
            }
            Next::Restart => {
                let now_ms = shared.now_ms();
                let (report, examined_bytes) = (self.report, self.examined_bytes);
                let is_due = |area: &Area| area.is_due(now_ms);
                let over = Self::over(shared, &self.only_here, is_due, false);
                *self = Pass { report, examined_bytes, ..over };
            }
        }
        Ok(true)
    }

    fn next_walk(&mut self, shared: &Shared) -> Option<Walk> {
        let number = self.areas.pop_front()?;
        Some(self.walk_over(shared, self.rules.areas[number].clone()))
    }

    fn walk_over(&self, shared: &Shared, area: Arc<Area>) -> Walk {
        // The area first: what is put after this is noted for the next walk.
        let before = self.counted.is_none().then(|| area.begin());
        let moment = Moment::under(self.rules.clone(), shared.now_ms());
        Walk::new(area, moment, before)
    }

    /// Looks at the next rows, and deletes those that have expired.
    fn walk_on(&mut self, shared: &Shared, walk: &mut Walk) -> Result<Next> {
        let (mut expired, mut keys_bytes, mut is_end) = (Vec::new(), 0, false);
        {
            let view = shared.index.view();
            let mut cursor = view.entries(Space::Object);
            cursor.seek(&walk.from);
            for _ in 0..ROWS_A_STEP {
                let row = cursor.entry()?.filter(|(key, _)| key.starts_with(&walk.area.prefix));
                let Some((key, entry)) = row else {
                    is_end = true;
                    break;
                };
                walk.from.clear();
                walk.from.extend_from_slice(key);
                walk.from.push(0);
                self.report.examined += 1;
                self.examined_bytes += entry.meta.len;
                if !walk.moment.has(key, &entry.meta) {
                    expired.push(Aged::of(key, &entry));
                    keys_bytes += key.len();
                } else if !self.is_counted(key, &entry) {
                    walk.pass_by(key, &entry);
                }
                if keys_bytes >= KEYS_A_STEP_BYTES {
                    break;
                }
                cursor.next();
            }
        }
        if self.counted.is_some() && !Arc::ptr_eq(&walk.area, &self.rules.areas[0]) {
            // The first area has all keys, and all that has expired was counted there.
            expired.clear();
        }
        if !self.delete(shared, &expired)? {
            return Ok(Next::Restart);
        }
        Ok(if is_end { walk.find_surplus() } else { Next::Step })
    }

    /// Deletes the next of what is over the limit.
    fn delete_surplus(&mut self, shared: &Shared, walk: &mut Walk) -> Result<Next> {
        let (surplus, is_all) = walk.surplus.as_mut().expect("all rows were seen");
        let (mut some, mut keys_bytes) = (Vec::new(), 0);
        while keys_bytes < KEYS_A_STEP_BYTES
            && some.len() < DELETES_AN_APPEND
            && let Some(next) = surplus.pop_front()
        {
            keys_bytes += next.key.len();
            // Also where it is not the same any more: what has taken its place is noted as put.
            walk.total_bytes -= next.len;
            some.push(next);
        }
        let (was_last, is_all) = (surplus.is_empty(), *is_all);
        if !self.delete(shared, &some)? {
            return Ok(Next::Restart);
        }
        if let (Some(counted), Some(last)) = (&mut self.counted, some.last()) {
            counted.push(Counted { area: walk.area.clone(), up_to: last.age() });
        }
        Ok(match (was_last, is_all) {
            (false, _) => Next::Step,
            (true, true) => Next::End,
            (true, false) => Next::Again,
        })
    }

    /// Whether a dry run has counted an object as over some limit.
    fn is_counted(&self, key: &[u8], entry: &Entry<'_>) -> bool {
        let age = (entry.meta.created_ms, entry.seq);
        let mut counted = self.counted.iter().flatten();
        counted.any(|counted| key.starts_with(&counted.area.prefix) && age <= counted.up_to)
    }

    /// Deletes objects, or counts them; false if the rules have changed meanwhile.
    fn delete(&mut self, shared: &Shared, objects: &[Aged]) -> Result<bool> {
        for some in objects.chunks(DELETES_AN_APPEND) {
            let (count, bytes) = if self.counted.is_some() {
                (some.len() as u64, some.iter().map(|object| object.len).sum())
            } else if let Some(deleted) = shared.delete_as_seen(&self.in_force, some)? {
                deleted
            } else {
                return Ok(false);
            };
            self.report.objects += count;
            self.report.bytes += bytes;
        }
        Ok(true)
    }
}

impl Shared {
    /// Deletes what is due.
    pub(crate) fn expire(&self, options: &ExpireOptions) -> Result<ExpireReport> {
        self.check_poison()?;
        options.rules.iter().try_for_each(RetentionRule::validate)?;
        let now_ms = self.now_ms();
        // What another pass is at has to be done when this returns.
        let is_due = |area: &Area| options.dry_run || area.may_be_behind(now_ms);
        let mut pass = Pass::over(self, &options.rules, is_due, options.dry_run);
        let all_bytes = self.stats()?.object_bytes * pass.areas.len() as u64;
        while pass.step(self)? {
            if let Some(on_progress) = &options.on_progress {
                on_progress(&Progress {
                    phase: Phase::Expire,
                    done_bytes: pass.examined_bytes,
                    total_bytes: all_bytes.max(pass.examined_bytes),
                    records: pass.report.examined,
                });
            }
        }
        Ok(pass.report)
    }

    /// Deletes those of the objects that are as they were seen, if these rules are still in force;
    /// gives how many, and their bytes.
    fn delete_as_seen(&self, rules: &Arc<Rules>, seen: &[Aged]) -> Result<Option<(u64, u64)>> {
        self.admit_upkeep()?;
        let _deleting = self.retention.deleting();
        if !Arc::ptr_eq(rules, &self.retention.rules()) {
            return Ok(None);
        }
        let gates = seen.iter().map(|object| (Space::Object, &object.key[..], GatePass::Alone));
        let _gates = self.gates.pass(gates);
        let view = self.index.view();
        let mut same = Vec::with_capacity(seen.len());
        for object in seen {
            if let Some(row) = view.entry(Space::Object, &object.key)?
                && row.entry()?.seq == object.seq
            {
                same.push(object);
            }
        }
        if same.is_empty() {
            return Ok(Some((0, 0)));
        }
        self.append(0, None, true, |_| {
            let mut proposal = Proposal::default();
            for object in &same {
                proposal.push(&Record::Delete { space: Space::Object, key: &object.key });
            }
            proposal
        })?;
        step!("expire.deleted");
        let bytes = same.iter().map(|object| object.len).sum();
        Ok(Some((same.len() as u64, bytes)))
    }
}
