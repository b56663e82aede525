//! Which waiting job comes next.
//!
//! Without a preference the first in the queue. With one, a later job of the same priority may go first when fewer of
//! its model components have to be brought into memory, but no job is passed over more than `max_passes` times: then
//! it is its turn, whatever it costs. So a stream of jobs on one checkpoint cannot starve the one on another.

use std::collections::HashSet;

use crate::job::JobSummary;

/// How far the order may be bent for what is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference {
    /// Times a job may be passed over; 0 keeps the plain order.
    pub max_passes: u32,
}

/// A choice among the waiting jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Index of the job to take.
    pub index: usize,
    /// Ids of those that were before it.
    pub passed_over: Vec<String>,
}

/// Chooses among `waiting`, which is in queue order. `None` when nobody waits.
///
/// ```
/// use ebb_queue::pick::{pick, Preference};
/// assert_eq!(pick(&[], &Default::default(), Preference { max_passes: 4 }), None);
/// ```
pub fn pick(waiting: &[JobSummary], resident: &HashSet<String>, preference: Preference) -> Option<Pick> {
    let first = waiting.first()?;
    let absent = |job: &JobSummary| job.components.iter().filter(|c| !resident.contains(*c)).count();
    // Jobs up to and including the first that may not be passed over again, of the first's priority.
    let within = waiting
        .iter()
        .position(|job| job.passed_over >= preference.max_passes)
        .map_or(waiting.len(), |last| last + 1);
    let best = waiting[..within]
        .iter()
        .enumerate()
        .take_while(|(_, job)| job.priority == first.priority)
        .min_by_key(|(index, job)| (absent(job), *index))?;
    let passed_over = waiting[..best.0].iter().map(|job| job.id.clone()).collect();
    Some(Pick { index: best.0, passed_over })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::JobNumber;
    use crate::state::JobState;

    fn job(seq: i64, component: u8, priority: i32) -> JobSummary {
        JobSummary {
            seq,
            id: format!("job-{seq}"),
            number: JobNumber::Counted(seq),
            priority,
            state: JobState::Queued,
            attempts: 0,
            passed_over: 0,
            cancel_requested: false,
            client_id: None,
            components: vec![format!("checkpoint-{component}")],
            created_ms: 0,
            started_ms: None,
            finished_ms: None,
        }
    }

    /// Runs a queue to its end with one checkpoint in memory at a time; the order in which jobs ran, and the loads.
    fn drain(mut waiting: Vec<JobSummary>, max_passes: u32) -> (Vec<JobSummary>, usize) {
        let (mut ran, mut loads, mut resident) = (Vec::new(), 0, HashSet::new());
        while let Some(choice) = pick(&waiting, &resident, Preference { max_passes }) {
            for job in &mut waiting[..choice.index] {
                job.passed_over += 1;
            }
            let job = waiting.remove(choice.index);
            if !job.components.iter().all(|c| resident.contains(c)) {
                loads += 1;
                resident = job.components.iter().cloned().collect();
            }
            ran.push(job);
        }
        (ran, loads)
    }

    #[test]
    fn zero_passes_keep_the_order() {
        let jobs: Vec<_> = (0..20).map(|i| job(i, (i % 2) as u8, 0)).collect();
        let (ran, loads) = drain(jobs, 0);
        assert!(ran.windows(2).all(|w| w[0].seq < w[1].seq));
        assert_eq!(loads, 20);
    }

    #[test]
    fn two_checkpoints_in_turn_load_less_often() {
        let jobs: Vec<_> = (0..20).map(|i| job(i, (i % 2) as u8, 0)).collect();
        let (_, loads) = drain(jobs, 4);
        assert_eq!(
            loads, 4,
            "instead of 20: jobs of one checkpoint run together until one has waited four turns"
        );
    }

    #[test]
    fn a_higher_priority_is_never_passed_over() {
        let waiting = vec![job(0, 1, 5), job(1, 0, 0)];
        let resident = HashSet::from(["checkpoint-0".to_owned()]);
        let choice = pick(&waiting, &resident, Preference { max_passes: 10 });
        assert_eq!(choice, Some(Pick { index: 0, passed_over: vec![] }));
    }

    proptest! {
        #[test]
        fn nobody_is_passed_over_too_often(
            kinds in prop::collection::vec((0u8..4, 0i32..2), 0..60),
            max_passes in 0u32..6,
        ) {
            let mut jobs: Vec<_> = kinds.iter().enumerate().map(|(i, (c, p))| job(i as i64, *c, *p)).collect();
            jobs.sort_by_key(|j| (-j.priority, j.seq));
            let total = jobs.len();
            let (ran, _) = drain(jobs, max_passes);
            prop_assert_eq!(ran.len(), total);
            for job in &ran {
                prop_assert!(job.passed_over <= max_passes, "{} was passed over {} times", job.id, job.passed_over);
            }
            prop_assert!(ran.windows(2).all(|w| w[0].priority >= w[1].priority));
        }
    }
}
