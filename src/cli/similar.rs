//! What a person may have meant.

/// The word that is closest to another, if any is close.
pub(super) fn closest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let scored = among.into_iter().map(|candidate| {
        let other = candidate.to_lowercase();
        // A part of the name is as good as a small mistake.
        let part = lower.len() >= 4 && other.contains(&lower);
        (if part { 0.9 } else { strsim::jaro_winkler(&lower, &other) }, candidate)
    });
    scored
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or nothing.
pub(super) fn hint<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, among).map(|close| format!("; did you mean `{close}`?")).unwrap_or_default()
}
