//! The states of a job and the one table of transitions. `docs/queue.md` shows it with the reasons.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a job is doing. The words are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Checked, stored, waiting for its turn.
    Queued,
    /// A worker has it.
    Running,
    /// Every output was made.
    Succeeded,
    /// A node failed, or the attempts are used up.
    Failed,
    /// Someone stopped it.
    Cancelled,
}

/// Every change that is allowed. A change that is not here is refused by every store.
pub const TRANSITIONS: [(JobState, JobState); 6] = [
    (JobState::Queued, JobState::Running),
    (JobState::Queued, JobState::Cancelled),
    (JobState::Running, JobState::Succeeded),
    (JobState::Running, JobState::Failed),
    (JobState::Running, JobState::Cancelled),
    (JobState::Running, JobState::Queued),
];

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether a job in this state may be put in that one.
    pub fn may_become(self, to: Self) -> bool {
        TRANSITIONS.contains(&(self, to))
    }

    /// Whether the job is over: it stays as it is until history forgets it.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a job state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_states_are_ends() {
        for from in JobState::ALL {
            for to in JobState::ALL {
                if from.is_finished() {
                    assert!(!from.may_become(to), "{from} must not become {to}");
                }
            }
        }
    }

    #[test]
    fn the_words_read_back() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("done".parse::<JobState>().is_err());
    }

    #[test]
    fn the_page_in_the_docs_lists_exactly_these_transitions() {
        let page = include_str!("../../../docs/queue.md");
        let rows: Vec<(JobState, JobState)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(str::trim);
                let from = cells.next()?.parse().ok()?;
                let to = cells.next()?.parse().ok()?;
                Some((from, to))
            })
            .collect();
        for t in TRANSITIONS {
            assert!(rows.contains(&t), "docs/queue.md lacks {} -> {}", t.0, t.1);
        }
        for t in &rows {
            assert!(TRANSITIONS.contains(t), "docs/queue.md has {} -> {}, the code has not", t.0, t.1);
        }
    }
}
